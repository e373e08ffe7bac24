"""The words of e-mails to staff, in Swahili and English in the same letter: the account has no language yet."""

from core.staff.links import LASTS, Purpose
from core.staff.mail import Letter

SUBJECTS = {
    Purpose.INVITATION: "Mwaliko wa Mbashara / Invitation to Mbashara",
    Purpose.RESET: "Weka nenosiri jipya la Mbashara / Set a new Mbashara password",
}
BODIES = {
    Purpose.INVITATION: """\
Ndugu {name},

Umefunguliwa akaunti ya Mbashara. Fungua kiungo hiki uweke nenosiri lako:

{url}

Kiungo hiki kinatumika mara moja tu, ndani ya siku {days}. Usimpe mtu mwingine.

--

Dear {name},

An account on Mbashara was made for you. Open this link to set your password:

{url}

The link works once, within {days} days. Give it to nobody else.
""",
    Purpose.RESET: """\
Ndugu {name},

Tumepokea ombi la kuweka nenosiri jipya la akaunti yako ya Mbashara. Fungua kiungo hiki:

{url}

Kiungo hiki kinatumika mara moja tu, ndani ya dakika {minutes}. Kama hukuomba wewe, puuza barua hii: nenosiri lako \
halijabadilika.

--

Dear {name},

We were asked for a new password for your Mbashara account. Open this link:

{url}

The link works once, within {minutes} minutes. If it was not you who asked, ignore this letter: your password is \
unchanged.
""",
}


def letter(purpose: Purpose, *, to: str, name: str, url: str) -> Letter:
    lasts = LASTS[purpose]
    text = BODIES[purpose].format(name=name, url=url, days=lasts.days, minutes=lasts.seconds // 60)
    return Letter(to, SUBJECTS[purpose], text)
