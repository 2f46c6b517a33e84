"""Links in notes: addresses of the paper, and links of a card by kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_LINK = re.compile(
    r"\[(?P<words>(?:[^\[\]]|\\[\[\]]|\[[^\[\]]*\])*)\]\((?P<url><[^>]*>|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+[\"'][^\"']*[\"'])?\)"
)
_BARE = re.compile(r"(?<![\w(\[<])<?(?P<url>https?://[^\s<>\])}，。；]+)>?")
_ARXIV = re.compile(
    r"(?:arxiv\.org/(?:abs|pdf|html|format|e-print)/|ar5iv\.(?:labs\.arxiv\.)?org/(?:abs|html)/|alphaxiv\.org/(?:abs|pdf)/"
    r"|huggingface\.co/papers/|arxiv-vanity\.com/papers/|\barxiv:\s*|\b10\.48550/arxiv\.)"
    r"(?P<id>\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?",
    re.IGNORECASE,
)
_ARXIV_ID = re.compile(r"(?P<id>(?:0[7-9]|[1-9]\d)(?:0[1-9]|1[0-2])\.\d{4,5})(?:v\d+)?")
_DOI = re.compile(r"\b(?P<doi>10\.\d{4,9}/[^\s\"'<>\]]+)")
_KINDS = (
    ("code", r"\b(?:code|github|git|repo|implementation|colab|pytorch|tensorflow|caffe|torch|keras|jax)\b|代码"),
    ("video", r"\b(?:video|youtube|talk|lecture|presentation|recording)\b|视频"),
    ("blog", r"\b(?:blog|post|medium|explained|tutorial|notes?)\b|博客"),
    ("discussion", r"\b(?:discussion|reddit|forum|hn|hacker ?news|openreview|reviews?|twitter|thread)\b|讨论"),
    (
        "paper",
        r"\b(?:paper|pdf|arxiv|article|abs|abstract|doi|acl|cvf|nips|neurips|icml|iclr|preprint|publication)\b|论文",
    ),
)
_HOSTS = (
    ("code", r"(?:^|\.)(?:github|gitlab|bitbucket|huggingface|colab\.research\.google|paperswithcode)"
             r"\.(?:com|co|org)$"),
    ("video", r"(?:^|\.)(?:youtube|youtu|vimeo|slideslive|bilibili|videolectures|techtalks)\.(?:com|be|net|tv)$"),
    ("blog", r"(?:^|\.)(?:medium\.com|blog\w*\.\w+|\w*blog\w*\.\w+|towardsdatascience\.com|github\.io|distill\.pub|"
             r"zhihu\.com|substack\.com)$|^blog\."),
    ("discussion", r"(?:^|\.)(?:reddit|news\.ycombinator|openreview|stackexchange|stackoverflow|twitter|x)"
                   r"\.(?:com|net)$"),
    ("paper", r"(?:^|\.)(?:arxiv\.org|doi\.org|aclanthology\.org|aclweb\.org|openaccess\.thecvf\.com|"
              r"papers\.n(?:eur)?ips\.cc|jmlr\.org|proceedings\.\w+\.press|"
              r"ieeexplore\.ieee\.org|dl\.acm\.org|sciencedirect\.com|link\.springer\.com|nature\.com|semanticscholar\.org|biorxiv\.org|usenix\.org)$"),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A link in a line: the words that it stands behind (empty for a bare address), and the address."""

    words: str
    url: str


def links(line: str) -> list[Found]:
    """Return the web links of a line, and its bare addresses."""
    found = [
        Found(one["words"].strip().strip("[]"), one["url"].strip("<>"))
        for one in _LINK.finditer(line)
        if line[one.start() - 1 : one.start()] != "!"
    ]
    found += [Found("", one["url"].rstrip(".,;:!?)]'\"*_")) for one in _BARE.finditer(_LINK.sub(" ", line))]
    return [one for one in found if re.match(r"https?://[^\s/]+\.", one.url)]


def without_links(line: str) -> str:
    """Return what a line says besides its links and addresses, and the signs between them."""
    rest = _BARE.sub(" ", _LINK.sub(" ", line))
    return re.sub(r"[\s\[\](){}|/,;·•:*_\\<>-]+", " ", rest).strip()


def kind(link: Found) -> str:
    """Return the kind of a link, as cards name them, by its words, or else by its host."""
    words = link.words.casefold()
    for name, pattern in _KINDS:
        if re.search(pattern, words):
            return name
    try:
        host = (urlsplit(link.url).hostname or "").removeprefix("www.")
    except ValueError:
        return "article"
    if link.url.casefold().endswith(".pdf"):
        return "paper"
    return next((name for name, pattern in _HOSTS if re.search(pattern, host)), "article")


def arxiv(text: str) -> str:
    """Return the arXiv identifier that a text or an address names, without its version; empty if none."""
    if found := _ARXIV.search(unquote(text)):
        return found["id"]
    return found["id"] if (found := _ARXIV_ID.fullmatch(text.strip())) else ""


def doi(text: str) -> str:
    """Return the DOI that a text or an address names; empty if none."""
    found = _DOI.search(unquote(text))
    return found["doi"].rstrip(".,;)") if found and "arxiv." not in found["doi"].casefold() else ""


def plain(text: str) -> str:
    """Return a line of Markdown as plain words: links by their words, no emphasis."""
    text = _LINK.sub(lambda found: found["words"], text)
    text = re.sub(r"\[\[(?:[^\]|]*\|)?([^\]]+)\]\]", r"\1", text)
    text = re.sub(r"(?<!\w)(\*\*|__|\*|_|`)(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2", text)
    return " ".join(re.sub(r"\\([\[\]*_`#])", r"\1", re.sub(r"</?[a-z][^>]*>", "", text)).split())
