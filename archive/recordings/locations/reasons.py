"""What a store said in English, in words of the reader's language with the store's own text behind them.

Details of StoreErrors are technical: codes of S3, boto's sentences, what the system says. They stand in rows and signed
logs as they came, so they are read here, not where they are raised. The first of the words whose pattern is in a
detail counts.
"""

import re

from archive.words import N_, translate
from core import plain
from core.web.i18n import Language

SAID = (
    (r"\b(InvalidAccessKeyId|SignatureDoesNotMatch|AuthorizationHeaderMalformed|InvalidToken)\b|^\w+: 401\b",
     N_("the credentials are wrong")),
    (r"\bRequestTimeTooSkewed\b", N_("its clock and this machine's differ")),
    (r"\bNoSuchBucket\b|^there is no bucket \S+$", N_("there is no such bucket")),
    (r"\b(InsufficientStorage|InsufficientCapacity|QuotaExceeded|StorageFull|XMinio\w*(Full|QuotaExceeded)|"
     r"ServiceQuotaExceeded)\b|^\w+: 507\b", N_("there is no room left")),
    (r"\b(AccessDenied|AllAccessDisabled|AccountProblem)\b", N_("these credentials may not do this")),
    (r"^\w+: 403\b", N_("the credentials are wrong, or may not do this")),
    (r"\b(SlowDown|TooManyRequests|ServiceUnavailable)\b|^\w+: (429|503)\b", N_("it has too much to do just now")),
    (r"[Nn]ame or service not known|[Nn]ame resolution|[Nn]odename nor servname|No address associated|getaddrinfo",
     N_("the name of its server is not known")),
    (r"No route to host|Network is unreachable", N_("no way leads to it through the network")),
    (r"Connection refused", N_("nobody listens at its address")),
    (r"[Cc]onnect(ion)? time(out|d out)|ConnectTimeout", N_("nobody answers at its address in time")),
    (r"[Rr]ead time(out|d out)|\d+ bytes in \d+ seconds|\bRequestTimeout\b|[Tt]imed out",
     N_("it hangs: no answer in time")),
    (r"[Cc]ertificate|CERTIFICATE", N_("its certificate is not trusted here")),
    (r"SSL|TLS", N_("no secure connection (TLS) comes about with it")),
    (r"Could not connect to the endpoint", N_("it can't be connected to")),
    (r"Connection was closed|Connection reset|Broken pipe|response stream|IncompleteRead|broke off after|"
     r"total bytes expected", N_("it broke off in the middle")),
    (r"\b(BadDigest|InvalidDigest|XAmzContent\w+Mismatch|IncompleteBody)\b", N_("what arrived is not what was sent")),
    (r"\b(NotImplemented|MethodNotAllowed)\b|^\w+: 501\b", N_("it knows no such thing")),
    (r"\bInternalError\b|^\w+: 5\d\d\b", N_("it has a fault of its own")),
    (r"\bNoSuch(Key|Upload|Version)\b|^\w+: 404\b", N_("there is nothing of this name")),
    (r"\b(PreconditionFailed|ConditionalRequestConflict)\b|^\w+: 412\b", N_("something is there already")),
    (r"^\w+: 4\d\d\b", N_("it does not accept the request")),
    (r"its SHA-256 is [0-9a-f]+, not ", N_("its SHA-256 is not the one it should be")),
)  # fmt: skip
OURS = (
    N_("{key}: not what was sent"),
    N_("{key}: not what was written, when read again"),
    N_("{key}: not what was written"),
    N_("{key}: no regular file"),
    N_("{key}: there before it was put"),
    N_("{key}: not listed"),
    N_("{key}: still there after it was deleted"),
    N_("{key}: it is not there, though it was taken"),
    N_("{key}: the bucket {bucket} has no object lock"),
    N_("a folder has no legal holds"),
    N_("a folder has no retention"),
)  # fmt: skip
"""Of our own, which need no text behind them."""
_SAID = tuple((re.compile(pattern), words) for pattern, words in SAID)
_OURS = tuple(
    (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(message)), re.DOTALL), message) for message in OURS
)


def tell(detail: str, language: Language) -> str:
    """`detail` itself where nothing is known of it."""
    what, mark, why = detail.rpartition(": ")
    if why in plain.STRERRORS:
        return f"{what}{mark}{plain.told(language, why, {})}"
    for pattern, message in _OURS:
        if found := pattern.fullmatch(detail):
            return translate(message, language).format(**found.groupdict())
    said = detail.partition(": ")[2] or detail  # a key may have any number in it
    words = next((words for pattern, words in _SAID if pattern.search(said)), None)
    return detail if words is None else f"{translate(words, language)} (“{detail}”)"
