"""Small pictures inside a page: a grid of cards, each with a picture and lines."""

import io
from collections.abc import Sequence

from PIL import Image

from common.logging import page

SIDE = 144  # pixels of a thumbnail's longer side, at most
# Images of fewer pixels are shown as they are, enlarged.
_SMALL = 64
STYLE = """
.examples { list-style: none; margin: 0; padding: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.examples li { padding: .6rem; overflow: hidden; font-size: .85rem; }
.examples .shown { height: 9rem; display: grid; place-items: center;
  background: var(--code); border-radius: 6px; margin-bottom: .5rem; }
.examples img { max-width: 100%; max-height: 9rem; object-fit: contain; }
.examples img.small { width: 8rem; height: 8rem; image-rendering: pixelated; }
.examples p { margin: .1rem 0; overflow-wrap: anywhere; }
.examples b { font-weight: 650; }
.examples .file { color: var(--soft); font-size: .75rem; user-select: all;
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.note { max-width: 44rem; }
.note p { margin: .4rem 0; }
"""


def card(
    image: Image.Image | None, name: str, lines: Sequence[str], mark: str = ""
) -> str:
    """Returns one card.

    Args:
      image: None where it cannot be read.
      name: of the file, of which the last part is shown.
      lines: HTML of each line below the picture.
      mark: further classes of the card.
    """
    short = name.replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join(f"<p>{line}</p>" for line in lines)
    return (
        f'<li class="card{mark and f" {mark}"}"><div class="shown">'
        f'{_picture(image, short)}</div>{text}<p class="file" '
        f'title="{page.escape(name)}">{page.escape(short)}</p></li>\n'
    )


def grid(cards: Sequence[str]) -> str:
    """Returns cards in their order; nothing when there are none."""
    return f'<ol class="examples">{"".join(cards)}</ol>' if cards else ""


def _picture(image: Image.Image | None, alt: str) -> str:
    if image is None:
        return "<span>cannot be read</span>"
    shown, content = image.copy(), io.BytesIO()
    small = max(shown.size) < _SMALL
    shown.thumbnail((SIDE, SIDE))
    if small:
        shown.save(content, "PNG")
    else:
        shown.convert("RGB").save(content, "JPEG", quality=80)
    kind = "image/png" if small else "image/jpeg"
    return (
        f'<img alt="{page.escape(alt)}" class="{"small" if small else "large"}" '
        f'loading="lazy" src="{page.data_uri(content.getvalue(), kind)}">'
    )
