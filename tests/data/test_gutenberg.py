"""Project Gutenberg: the book is what stands between header and footer, in every form they had."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.data.gutenberg import strip_gutenberg

BOOK = "CHAPTER I\n\nIt was a dark and stormy night.\n\n* * *\n\nThe end."
LICENSE = "Updated editions will replace the previous one.\n" * 300

MODERN = f"""\ufeffThe Project Gutenberg eBook of A Night, by A. Writer

This eBook is for the use of anyone anywhere at no cost.

Title: A Night

*** START OF THE PROJECT GUTENBERG EBOOK A NIGHT ***

Produced by Some Body and the Online Distributed
Proofreading Team at https://www.pgdp.net

{BOOK}

*** END OF THE PROJECT GUTENBERG EBOOK A NIGHT ***

{LICENSE}"""

YEAR_2006 = f"""The Project Gutenberg EBook of A Night, by A. Writer

*** START OF THIS PROJECT GUTENBERG EBOOK A NIGHT, WITH A VERY LONG
TITLE THAT GOES ON ***

E-text prepared by Some Body


{BOOK}


End of the Project Gutenberg EBook of A Night, by A. Writer

*** END OF THIS PROJECT GUTENBERG EBOOK A NIGHT ***

***** This file should be named 1.txt or 1.zip *****

*** START: FULL LICENSE ***

{LICENSE}"""

YEAR_2004 = f"""Project Gutenberg's A Night, by A. Writer

***START OF THE PROJECT GUTENBERG EBOOK A NIGHT***

{BOOK}

***END OF THE PROJECT GUTENBERG EBOOK A NIGHT***

{LICENSE}"""

YEAR_1993 = f"""**The Project Gutenberg Etext of A Night, by A. Writer**

***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Why is this "Small Print!" statement here?

*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

{BOOK}

End of The Project Gutenberg Etext of A Night, by A. Writer
"""

YEAR_2000 = f"""Project Gutenberg Etext A Night, by A. Writer

*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.10/04/01*END*

This etext was prepared by Some Body

{BOOK}

End of this Project Gutenberg Etext of A Night
"""

FORMS = {
    "modern": MODERN,
    "2006": YEAR_2006,
    "2004": YEAR_2004,
    "2000": YEAR_2000,
    "1993": YEAR_1993,
    "header alone": MODERN[: MODERN.index("*** END")],
    "footer alone": BOOK + YEAR_2006[YEAR_2006.index("\n\n\nEnd of the") :],
    "possessive": f"{BOOK}\n\nEnd of Project Gutenberg's A Night, by A. Writer\n",
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("form", FORMS)
def test_header_and_footer_are_cut_in_every_form(form: str, newline: str) -> None:
    text = FORMS[form].replace("\n", newline)
    assert strip_gutenberg(text) == BOOK.replace("\n", newline)


@pytest.mark.parametrize(
    "text",
    [
        "  Any other text, as it is.\n",
        "He had read of the end of Project Gutenberg.\n",
        'She typed: "*** START OF THE PROJECT GUTENBERG EBOOK ***"\n',
    ],
)
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert strip_gutenberg(text) == text


def test_a_marker_in_the_midst_of_a_long_book_is_part_of_it() -> None:
    book = BOOK + "\n\nmore\n" * 20_000
    quoted = "\n*** END OF THE PROJECT GUTENBERG EBOOK A NIGHT ***\n"
    text = MODERN.replace(BOOK, book + quoted + book.strip())
    assert strip_gutenberg(text) == book + quoted + book.strip()


@given(st.text(alphabet="ab.,'\n ", min_size=1))
def test_whatever_the_book_is_it_is_kept(book: str) -> None:
    text = YEAR_2004.replace(BOOK, f"x{book}x")
    assert strip_gutenberg(text) == f"x{book}x"
