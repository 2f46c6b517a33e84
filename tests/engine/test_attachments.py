"""Files beside the cards: which of them the site holds, and pictures that could run or fetch something."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from quaere.content import attachments
from quaere.content.results import Heatmap, Lines, Series
from quaere.errors import AuthorError
from quaere.pages import figures
from tests.engine.conftest import Base

PNG = b"\x89PNG\r\n\x1a\n"
HINT = "\n  hint: a picture is shown only if nothing in it can run or be fetched: save it as plain SVG, or as PNG"
# As matplotlib writes one.
PLAIN = """\
<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" height="9pt" viewBox="0 0 9 9"
  xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata>
  <rdf:RDF xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cc="http://creativecommons.org/ns#"
    xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
   <cc:Work>
    <dc:type rdf:resource="http://purl.org/dc/dcmitype/StillImage"/>
    <dc:creator><cc:Agent><dc:title>Matplotlib v3.10, https://matplotlib.org/</dc:title></cc:Agent></dc:creator>
   </cc:Work>
  </rdf:RDF>
 </metadata>
 <defs>
  <style type="text/css">*{stroke-linejoin: round; fill: url(#shade)} g {mask: url( "#m" )}</style>
  <linearGradient id="shade"/>
  <clipPath id="clip"><rect x="1" y="1" width="7" height="7"/></clipPath>
  <path id="x" d="M 0 0"/>
 </defs>
 <!-- a remark: onload="no" -->
 <g clip-path="url(#clip)" style="fill: url('#shade'); stroke: #1f77b4">
  <use xlink:href="#x" x="2" y="2"/><use href="#x"/>
  <a href="https://e.org/a"><text font-size="3">on x = url(a)</text></a>
  <image xlink:href="data:image/png;base64,iVBORw0KGgo=" width="2" height="2"/>
 </g>
</svg>
"""


def svg(inside: str, attributes: str = "", before: str = "") -> str:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"{before}<svg {names} {attributes}>{inside}</svg>"


def read(root: Path, content: str | bytes) -> Iterator[str]:
    """Read a folder with one SVG file; yield the faults, or nothing if the picture was chosen."""
    (root / "a.svg").write_bytes(content.encode() if isinstance(content, str) else content)
    chosen, faults = attachments.read(root, "")
    assert bool(chosen) is not bool(faults), "a picture is either chosen or refused"
    return map(str, faults)


def test_pictures_and_documents_beside_the_cards_are_chosen_and_nothing_else(base: Base) -> None:
    shown = ("a.png", "b.JPG", "c.jpeg", "d.gif", "e.webp", "f.avif", "g.apng", "h.pdf", "deep/er/i.png", "j k.png")
    passed_over = (
        *("x.html", "x.htm", "x.xhtml", "x.js", "x.css", "x.md", "x.txt", "x.json", "x.xml", "x.svgz", "x.exe", "png"),
        *(".x.png", ".hidden/x.png", "deep/.x/y.png", "results/x.html", "x.png.html", "x.png~"),
    )
    base.write({f"papers/{name}": PNG for name in (*shown, *passed_over)})
    base.write({"papers/l.svg": PLAIN, "docs/x.png": PNG, "x.png": PNG})
    library, faults = base.project.read()
    assert faults == []
    assert library.attachments == {f"papers/{name}": f"papers/{name}" for name in (*shown, "l.svg")}


def test_wherever_the_cards_lie_their_pictures_stand_beside_their_pages(base: Base) -> None:
    base.write({"pyproject.toml": '[tool.quaere]\npapers = "lib/cards"\nbibliography = "papers/references.bib"\n'})
    base.write({"lib/cards/toy.yml": (base.root / "papers/toy.yml").read_bytes(), "lib/cards/in/a.png": PNG})
    library, faults = base.project.read()
    assert faults == []
    assert library.attachments == {"papers/in/a.png": "lib/cards/in/a.png"}


def test_links_out_of_the_folder_are_not_followed(base: Base) -> None:
    base.write({"secret/a.png": PNG, "papers/own.png": PNG, "papers/in/b.png": PNG})
    papers = base.root / "papers"
    (papers / "file.png").symlink_to(base.root / "secret/a.png")
    (papers / "relative.png").symlink_to("../secret/a.png")
    (papers / "folder").symlink_to(base.root / "secret", target_is_directory=True)
    (papers / "in/up.png").symlink_to(papers / "file.png")
    (papers / "gone.png").symlink_to(papers / "nowhere.png")
    (papers / "round.png").symlink_to(papers / "round.png")
    (papers / "inside.png").symlink_to(papers / "own.png")
    library, faults = base.project.read()
    assert {fault.place.file: fault.problem for fault in faults} == {
        "papers/file.png": "this is a link to a file elsewhere",
        "papers/folder": "this is a link to a folder",
        "papers/gone.png": "the file can't be read: No such file or directory",
        "papers/in/up.png": "this is a link to a file elsewhere",
        "papers/relative.png": "this is a link to a file elsewhere",
        "papers/round.png": "the file can't be read: Too many levels of symbolic links",
    }
    assert set(library.attachments) == {"papers/own.png", "papers/in/b.png", "papers/inside.png"}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("utf-8", "utf-16").encode("utf-16"),
        svg(""),
        svg('<a xlink:href="#x"><text>x</text></a>'),
        svg("<style>a{fill:red}</style><style/>"),
        svg("<text x='1'>&lt;script&gt; javascript:x &#106;</text>"),
        svg("<title>an entity, a script and a url(https://e.org)</title>"),
    ],
)
def test_a_plain_picture_is_chosen(content: str | bytes, tmp_path: Path) -> None:
    assert list(read(tmp_path, content)) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (svg("<script>alert(1)</script>"), "holds <script>"),
        (svg("<g><script/></g>"), "holds <script>"),
        (svg("<SCRIPT/>"), "holds <script>"),
        (svg('<x:script xmlns:x="http://www.w3.org/1999/xhtml"/>'), "holds <script>"),
        (svg("<foreignObject><p>a</p></foreignObject>"), "holds <foreignobject>"),
        (svg('<iframe xmlns="http://www.w3.org/1999/xhtml"/>'), "holds <iframe>"),
        (svg('<a><set attributeName="href" to="javascript:x"/></a>'), "holds <set>"),
        (svg('<animate attributeName="href" values="javascript:x"/>'), "holds <animate>"),
        (svg("", "onload='alert(1)'"), "holds a script in `onload`"),
        (svg("<g OnClick='alert(1)'/>"), "holds a script in `onclick`"),
        (svg("<g onbegin='x'/>"), "holds a script in `onbegin`"),
        (svg('<image href="https://e.org/a.png"/>'), "fetches `https://e.org/a.png`"),
        (svg('<image xlink:href="//e.org/a.png"/>'), "fetches `//e.org/a.png`"),
        (svg('<image href="a.png"/>'), "fetches `a.png`"),
        (svg('<use href="other.svg#a"/>'), "fetches `other.svg#a`"),
        (svg('<use xlink:href=" https://e.org/a.svg#b "/>'), "fetches `https://e.org/a.svg#b`"),
        (svg('<image href="data:image/svg+xml,&lt;svg/&gt;"/>'), "fetches `data:image/svg+xml,<svg/>`"),
        (svg('<feImage href="https://e.org/a.png"/>'), "fetches `https://e.org/a.png`"),
        (svg('<a href="javascript:alert(1)"/>'), "links to `javascript:alert(1)`"),
        (svg('<a xlink:href="&#106;avascript:alert(1)"/>'), "links to `javascript:alert(1)`"),
        (svg('<a href="\n java\tscript:alert(1)"/>'), "links to `java script:alert(1)`"),
        (svg('<a href="data:text/html,a"/>'), "links to `data:text/html,a`"),
        (svg('<a href="//e.org"/>'), "links to `//e.org`"),
        (svg('<rect fill="url(https://e.org/a.svg#a)"/>'), "fetches something by its style"),
        (svg("<rect style=\"fill: url( 'https://e.org/a.svg#a' )\"/>"), "fetches something by its style"),
        (svg("<style>a{fill:url(https://e.org/a.svg#a)}</style>"), "fetches something by its style"),
        (svg("<style>@import 'https://e.org/a.css';</style>"), "fetches something by its style"),
        (svg("<style>a{fill:url(#a)} b{fill:url(b.svg)}</style>"), "fetches something by its style"),
        (svg("&a;", before='<!DOCTYPE svg [<!ENTITY a "b">]>'), "declares entities"),
        (svg("", before='<!DOCTYPE svg PUBLIC "a" "b" [<!ENTITY % a SYSTEM "https://e.org">]>'), "declares entities"),
        (svg("", before='<!DOCTYPE svg\n[\n<!ATTLIST svg onload CDATA "alert(1)">]>'), "declares entities"),
    ],
)
def test_a_picture_that_could_run_or_fetch_something_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    assert list(read(tmp_path, content)) == [f"a.svg: this picture {problem}{HINT}"]


@pytest.mark.parametrize("content", ["", "<svg", svg("&nbsp;"), "a picture", PNG, "<svg/><svg/>"])
def test_what_is_no_xml_is_no_picture(content: str | bytes, tmp_path: Path) -> None:
    (fault,) = read(tmp_path, content)
    assert fault.startswith("a.svg: this picture is not SVG: ")
    assert fault.endswith(HINT)


XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


@pytest.mark.parametrize(
    "content",
    [
        # CSS does not tell capitals from small letters, has spellings by number, and fetches without `url` too.
        svg('<rect fill="URL(https://e.org/a.svg#a)"/>'),
        svg("<style>@IMPORT 'https://e.org/a.css';</style>"),
        svg(r"<style>@\69mport 'https://e.org/a.css';</style>"),
        svg(r"<style>a{fill:\75rl(https://e.org/a.svg#a)}</style>"),
        svg(r'<rect style="fill:u\72l(https://e.org/a.svg#a)"/>'),
        svg("<style>a{background:image-set('https://e.org/a.png' 1x)}</style>"),
        svg("<style>a{}<g/>@import 'https://e.org/a.css';</style>"),
        svg("<style>a{}<!-- -->@import 'https://e.org/a.css';</style>"),
        # A style sheet, and one that transforms the picture into a page with scripts.
        svg("", before='<?xml-stylesheet href="https://e.org/a.css"?>'),
        svg("", before='<?xml-stylesheet type="text/xsl" href="data:text/xml,a"?>'),
        # HTML is alive inside SVG, and in the place of it.
        svg(f'<img {XHTML} srcset="https://e.org/a.png 1x"/>'),
        svg(f'<object {XHTML} data="https://e.org/a"/>'),
        svg(f'<meta {XHTML} http-equiv="refresh" content="0;url=https://e.org"/>'),
        svg(f'<form {XHTML} action="javascript:alert(1)"><button>a</button></form>'),
        svg(f'<video {XHTML} poster="https://e.org/a.png"/>'),
        f'<html {XHTML}><body><form action="javascript:alert(1)"><button>a</button></form></body></html>',
        f"<html {XHTML}><body><p>no picture</p></body></html>",
        "<a/>",
    ],
)
def test_a_picture_is_refused_for_whatever_else_could_run_or_fetch_something(content: str, tmp_path: Path) -> None:
    (fault,) = read(tmp_path, content)
    assert fault.startswith("a.svg: this picture ")


def test_what_this_project_draws_itself_is_chosen(tmp_path: Path) -> None:
    known = {"id": "one", "title": "Title", "caption": "Caption.", "alt": "Alternative."}
    curve = Series(name="a", x=(1, 10, 100), runs=((1, 2, 3), (2, 3, 4)))
    lines = Lines.model_validate(
        {**known, "x": "images seen", "y": "accuracy", "series": (curve,), "levels": {"a": 1.0}}
    )
    heatmap = Heatmap.model_validate({**known, "rows": ("a",), "columns": ("b", "c"), "values": ((0.9, 0.1),)})
    for figure in (lines, heatmap):
        assert list(read(tmp_path, figures.draw(figure.model_dump_json(), "light"))) == []


def test_a_refused_picture_is_no_part_of_the_library_and_stops_no_other(base: Base) -> None:
    base.write(
        {"papers/bad.svg": svg("<script/>"), "papers/in/worse.SVG": svg("", "onload='x'"), "papers/a.svg": PLAIN}
    )
    library, faults = base.project.read()
    assert library.attachments == {"papers/a.svg": "papers/a.svg"}
    assert sorted(map(str, faults)) == [
        f"papers/bad.svg: this picture holds <script>{HINT}",
        f"papers/in/worse.SVG: this picture holds a script in `onload`{HINT}",
    ]
    assert all(isinstance(fault, AuthorError) for fault in faults)


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, kind, **options)
    return file.getvalue()


def exif() -> bytes:
    made = Image.Exif()
    made[0x010E] = "a" * 60_000
    return made.tobytes()


@pytest.mark.parametrize(
    "picture",
    [
        saved("PNG"),
        saved("GIF"),
        saved("JPEG"),
        saved("JPEG", progressive=True, exif=exif()),
        saved("WEBP"),
        saved("WEBP", lossless=True),
        saved("WEBP", exif=exif()),
        svg("", 'width="30" height="20"').encode(),
        svg("", 'width="22.5pt" height="15pt" viewBox="0 0 9 9"').encode(),
        svg("", 'width="30px" height="20px"', '<?xml version="1.0"?>\n<!-- a -->').encode(),
        svg("", 'viewBox="0 0 30 20"').encode(),
        svg("", 'width="100%" height="100%" viewBox="-1,-1, 30,20"').encode(),
    ],
    ids=repr,
)
def test_a_picture_says_how_large_it_is(picture: bytes) -> None:
    assert attachments.size(picture) == (30, 20)


@pytest.mark.parametrize(
    "picture",
    [
        b"",
        PNG,
        saved("PNG")[:20],
        saved("JPEG")[:30],
        b"\xff\xd8" + b"\0" * 40,
        b"\xff\xd8\xff\xe0\0\0",
        saved("GIF")[:7],
        saved("WEBP")[:20],
        svg("").encode(),
        svg("", 'width="a" height="1e9"').encode(),
        svg("", 'viewBox="0 0 x y"').encode(),
        svg("", 'viewBox="0 0 nan inf"').encode(),
        svg("", 'width="1.1.1" height="2"').encode(),
        svg("", 'width="0" height="20"').encode(),
        b"<svg",
        svg("", 'width="&a;" height="20"', '<!DOCTYPE svg [<!ENTITY a "30">]>').encode(),
    ],
    ids=repr,
)
def test_a_picture_that_does_not_say_how_large_it_is_has_no_size(picture: bytes) -> None:
    assert attachments.size(picture) is None


def test_sizes_are_those_of_pictures_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved("PNG"))
    (tmp_path / "b.pdf").write_bytes(saved("PNG"))
    (tmp_path / "c.png").mkdir()
    pictures = {f"papers/{name}": name for name in ("a.png", "b.pdf", "c.png", "d.png")}
    assert attachments.sizes(tmp_path, "", pictures) == {"papers/a.png": (30, 20)}
