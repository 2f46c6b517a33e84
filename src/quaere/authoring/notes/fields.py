"""Metadata in notes: what a line such as `**Tags**: a, b` says of the paper."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SPELLINGS: Mapping[str, str] = {
    "title": "title|paper title|paper name|paper|论文|论文题目|论文标题|题目|标题|タイトル|제목|titel|titre|título",
    "authors": "authors?|author names?|by|written by|作者|著者|저자|autoren|auteurs?|autor(?:es)?",
    "year": "year|published|publication date|publication year|date published|date of publication|年份|发表时间|年",
    "date": "date|created|created_at|date read|read date|read_date|read on|日期|阅读日期",
    "venue": (
        "venue|journal|conference|conf|booktitle|published in|publication|publisher|proceedings|source|会议|期刊|发表"
    ),
    "doi": "doi",
    "arxiv": "arxiv|arxiv id|arxiv_id|arxivid|eprint",
    "url": "url|link|paper link|paper url|paper_url|pdf|pdf link|href|address|链接|论文链接|论文地址",
    "code": "code|github|repo|repository|implementation|source code|official code|代码|代码链接",
    "links": "links|resources|see also|project|project page|website|blog|blog post|video|slides|demo",
    "tags": (
        "tags?|keywords?|topics?|categor(?:y|ies)|subjects?|area|areas|field|标签|关键词|キーワード|schlagwörter|"
        "mots-clés"
    ),
    "affiliations": (
        "affiliations?|institutions?|institutes?|organi[sz]ations?|orgs?|company|lab|labs|university|单位|机构|所属"
    ),
    "status": "status|reading status|reading|progress|state|read|阅读状态|状态|进度",
    "rating": "rating|score|stars|my rating|grade|评分|推荐度",
    "idea": (
        r"tl;?\s?dr;?|too long; didn'?t read|one[- ]?(?:line|sentence)(?: summary)?|one_liner|in (?:one|a) sentence|"
        "in a nutshell|gist|main idea|key idea|idea|takeaway|summary in one sentence|short summary|"
        "一句话(?:总结|概括|摘要)?|"
        "总结|要点|要約|一言で|まとめ|한줄요약|요약|kurz(?:fassung)?|zusammenfassung|en bref|résumé|en resumen|resumen"
    ),
    "reference": "reference|citation|cite|cite as|how to cite|引用",
    "bibtex": "bibtex|bib",
    "aliases": "aliases|alias|short|short name|nickname|model name|method name",
}
"""The field of a card or an entry by the spellings of its name, as regular expressions."""

_FIELDS = [(field, re.compile(rf"(?:{spelled})", re.IGNORECASE)) for field, spelled in _SPELLINGS.items()]
# A dotted key (`title::`) is Logseq's.
_LABELED = re.compile(
    r"^(?:[-*+]\s+|\d+[.)]\s+|>\s*)?(?:\*\*|__|\*|_|<b>)?\s*(?P<name>[^\W\d_][\w .&/;'’-]{0,40}?)\s*"
    r"(?:(?P<in>[:：]{1,2})\s*(?:\*\*|__|\*|_|</b>)|(?:\*\*|__|\*|_|</b>)?\s*(?P<out>[:：]{1,2}|;(?=\s)))\s*(?P<value>.*?)\s*$"
)
_BOLD = re.compile(r"^(?:[-*+]\s+)?(?:\*\*|__)(?P<name>[^*_:：]{1,40})[:：]?(?:\*\*|__)[:：]?\s*$")


def field_of(name: str) -> str:
    """Return the field that a name stands for; empty if for none."""
    name = " ".join(name.replace("_", " ").split()) if "_" in name and " " not in name else name
    for field, spelled in _FIELDS:
        if spelled.fullmatch(name) or spelled.fullmatch(name.replace(" ", "_")):
            return field
    return ""


def labeled(line: str) -> tuple[str, str] | None:
    """Return the field and the value of a line such as `**Tags**: a, b`; None if it is no such line."""
    stripped = line.strip()
    if found := _LABELED.match(stripped):
        name = found["name"].strip()
        # A semicolon stands for a colon in `TLDR; …` only.
        if (field := field_of(name)) and (found["out"] != ";" or field == "idea"):
            return field, found["value"].strip().strip("*_").strip() if found["in"] else found["value"].strip()
    if (found := _BOLD.match(stripped)) and (field := field_of(found["name"].strip())):
        return field, ""
    return None


def values(written: str) -> list[str]:
    """Return the values of a list: in brackets, with commas, semicolons, bars or points, or as `#a #[[b c]]`."""
    written = written.strip()
    if re.match(r"^\[(?!\[).*\]$", written):
        written = written[1:-1]
    hashes = re.findall(r"#\[\[([^\]]+)\]\]|#([^\s#,;，、]+)", written)
    rest = re.sub(r"#\[\[[^\]]+\]\]|#[^\s#,;，、]+", ",", written) if hashes else written
    found = ["".join(pair) for pair in hashes]
    found += re.split(r"\s*[,;，；、|]\s*|\s+[·•]\s+", re.sub(r"\[\[(?:[^\]|]*\|)?([^\]]+)\]\]", r"\1", rest))
    cleaned = (one.strip().strip("\"'`").removeprefix("[[").removesuffix("]]").strip().rstrip(".") for one in found)
    return list(dict.fromkeys(one for one in cleaned if one))
