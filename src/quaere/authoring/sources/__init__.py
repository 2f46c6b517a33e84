"""Read what is to be added to a bibliography: files of reference managers, PDFs, arXiv and Crossref, Zotero."""
