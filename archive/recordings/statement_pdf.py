"""A completeness statement on paper: A4, all of it text, with the signed JSON attached.

The fonts are the fourteen that every reader has, so letters outside Windows-1252 lose their accents. Swahili and
English have none of those.
"""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fpdf import FPDF, FontFace, ViewerPreferences, XPos, YPos

from archive.recordings.statement import canonical
from archive.recordings.statement_text import Bar, Table, Told, tell
from archive.words import N_, translate
from core.web.i18n import Language

FONT = "helvetica"
ENCODING = "windows-1252"
INK, FILLED, RULE = (11, 12, 12), (0, 90, 48), (177, 180, 182)
MAX_ROWS = 200
"""Of one table; all are in what is attached."""
LINE_MM, ROW_MM, BAR_MM, MIN_GAP_MM = 5.2, 4.2, 8.0, 0.4


class _Paper(FPDF):
    def __init__(self, told: Told) -> None:
        super().__init__(format="A4")
        self.core_fonts_encoding = ENCODING
        self._told = told
        self.set_margins(18, 18, 18)
        self.set_auto_page_break(True, 20)
        self.set_text_color(*INK)
        self.set_draw_color(*RULE)

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font(FONT, size=8)
        page = translate(N_("Page {page} of {pages}"), self._told.language)
        self.cell(0, 5, latin(page.format(page=self.page_no(), pages="{nb}")), align="R")


def render_pdf(document: Mapping[str, Any], language: Language) -> bytes:
    """Of a sealed statement. The same statement gives the same file."""
    told = tell(document, language)
    paper = _Paper(told)
    paper.set_lang(f"{language}-TZ")
    paper.set_title(f"{told.heading}: {told.title}")
    paper.set_author(document["statement"]["made_by"])
    paper.set_subject(document["statement"]["recording"])
    paper.set_creator("Mbashara")
    paper.set_creation_date(datetime.fromisoformat(document["statement"]["made_at"]))
    paper.viewer_preferences = ViewerPreferences(display_doc_title=True)
    paper.add_page()
    _heading(paper, told.heading, 20, 0)
    _paragraph(paper, told.verdict, bold=True)
    _bar(paper, told.bar)
    _facts(paper, told.facts)
    for table in told.tables:
        _table(paper, table, language)
    _heading(paper, told.proof_title, 13, 1)
    _facts(paper, told.proof)
    for note in told.notes:
        _paragraph(paper, note)
    paper.embed_file(
        bytes=canonical(document), basename=f"{document['statement']['recording']}.json",
        mime_type="application/json", associated_file_relationship="Data", compress=True,
        modification_date=datetime.fromisoformat(document["statement"]["made_at"]),
    )  # fmt: skip
    return bytes(paper.output())


def latin(text: str) -> str:
    """What the fonts can write: letters without accents that they don't know, and ? for the rest."""
    return "".join(one if _is_known(one) else _plain(one) for one in text)


def _is_known(letter: str) -> bool:
    try:
        letter.encode(ENCODING)
    except UnicodeEncodeError:
        return False
    return letter.isprintable()


def _plain(letter: str) -> str:
    kept = "".join(one for one in unicodedata.normalize("NFKD", letter) if _is_known(one))
    return kept or ("" if unicodedata.combining(letter) else "?")


def _heading(paper: FPDF, text: str, size: int, level: int) -> None:
    if level:
        paper.ln(3)
        if paper.will_page_break(25):
            paper.add_page()
    paper.start_section(text, level)
    paper.set_font(FONT, "B", size)
    paper.multi_cell(0, size * 0.5, latin(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    paper.ln(1.5)


def _paragraph(paper: FPDF, text: str, bold: bool = False) -> None:
    paper.set_font(FONT, "B" if bold else "", 11 if bold else 9)
    paper.multi_cell(0, LINE_MM, latin(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    paper.ln(1)


def _bar(paper: FPDF, bar: Bar) -> None:
    """Gaps are cut out of the bar, wide enough to be seen; what it shows is said beneath it in words too."""
    left, top, width = paper.l_margin, paper.get_y() + 1, paper.epw
    paper.set_fill_color(*FILLED)
    paper.rect(left, top, width, BAR_MM, style="F")
    paper.set_fill_color(255, 255, 255)
    for begin, end in bar.gaps:
        wide = max((end - begin) * width, MIN_GAP_MM)
        paper.rect(left + min(begin * width, width - wide), top, wide, BAR_MM, style="F")
    paper.set_draw_color(*INK)
    paper.rect(left, top, width, BAR_MM)
    paper.set_draw_color(*RULE)
    paper.set_y(top + BAR_MM + 1)
    paper.set_font(FONT, size=8)
    paper.cell(width / 4, 4, bar.begins)
    paper.cell(width / 2, 4, latin(bar.text), align="C")
    paper.cell(width / 4, 4, bar.ends, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    paper.ln(3)


def _facts(paper: FPDF, facts: tuple[tuple[str, str], ...]) -> None:
    paper.set_font(FONT, size=9)
    layout = {"col_widths": (30, 70), "borders_layout": "HORIZONTAL_LINES", "first_row_as_headings": False}
    with paper.table(**layout, text_align="LEFT", line_height=ROW_MM, padding=0.5, wrapmode="CHAR") as table:
        for label, value in facts:
            row = table.row()
            row.cell(latin(label), style=FontFace(emphasis="BOLD"))
            row.cell(latin(value))
    paper.ln(2)


def _table(paper: FPDF, one: Table, language: Language) -> None:
    _heading(paper, one.title, 13, 1)
    if not one.rows:
        _paragraph(paper, one.none)
        return
    paper.set_font(FONT, size=9)
    widths = {2: (25, 75), 3: (30, 30, 40), 4: (20, 20, 20, 40)}[len(one.head)]
    heading = FontFace(emphasis="BOLD", fill_color=(243, 242, 241))
    layout = {"col_widths": widths, "borders_layout": "HORIZONTAL_LINES", "headings_style": heading}
    with paper.table(**layout, text_align="LEFT", line_height=ROW_MM, padding=0.5) as table:
        for row in (one.head, *one.rows[:MAX_ROWS]):
            table.row([latin(cell) for cell in row])
    if len(one.rows) > MAX_ROWS:
        more = translate(N_("{count} more are in the attached data."), language)
        _paragraph(paper, more.format(count=len(one.rows) - MAX_ROWS))
