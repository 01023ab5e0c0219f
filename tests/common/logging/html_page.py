"""A page as a browser would read it, for tests of pages."""

from html.parser import HTMLParser

_VOID = {"meta", "img"}


class Page(HTMLParser):
    """Tags, links and text of a page; fails where a tag is closed out of order."""

    def __init__(self, source):
        super().__init__()
        self.source = source
        self.open, self.tags, self.links, self.text = [], [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    """Returns the page at a path."""
    return Page(path.read_text(encoding="utf-8"))
