"""Look of the report page: light and dark, from a phone to a wide screen."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1f2933; --soft: #5f6b76;
  --line: #dde3e9; --accent: #0072b2; --code: #f0f3f6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161b; --card: #1b2128; --ink: #e6eaee; --soft: #9aa7b4;
    --line: #2e3740; --accent: #56b4e9; --code: #242c35;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 2rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 60rem; margin: 0 auto; }
header { margin-bottom: 1.75rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em;
  overflow-wrap: anywhere; }
header p { margin: .35rem 0 0; color: var(--soft); }
h2 { font-size: .8rem; margin: 2.25rem 0 .75rem; color: var(--soft);
  text-transform: uppercase; letter-spacing: .08em; font-weight: 600; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.metrics { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
.metrics .card { padding: .9rem 1.1rem; }
.metrics dt { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.metrics dd { margin: .1rem 0 0; font-size: 1.65rem; font-weight: 650;
  font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
dl { margin: 0; }
.facts { display: grid; padding: .35rem 1.1rem;
  grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); column-gap: 2.5rem; }
.facts div { display: flex; justify-content: space-between; gap: 1.5rem;
  padding: .45rem 0; box-shadow: 0 1px var(--line); }
.facts dt { color: var(--soft); white-space: nowrap; }
.facts dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
figure { margin: 0 0 1rem; overflow: hidden; }
figure div { background: #fff; padding: .75rem; overflow-x: auto; }
img { display: block; max-width: 100%; max-height: 38rem; margin: 0 auto; }
/* Small panels stay legible on a phone: they scroll instead of shrinking. */
.wide img { max-height: none; width: 100%; min-width: 44rem; }
figcaption { padding: .6rem 1.1rem; color: var(--soft); font-size: .9rem; }
.scroll { overflow: auto; max-height: 28rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem 1.1rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { position: sticky; top: 0; background: var(--card); color: var(--soft);
  font-weight: 600; }
pre { margin: 0; padding: 1rem 1.1rem; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; }
pre, code, .config { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas,
  monospace; font-size: .85rem; }
.config { padding: .75rem 1.1rem; }
.config details { margin-left: .25rem; }
.config details details, .config details > p { margin-left: 1.1rem; }
.config p { margin: .15rem 0; overflow-wrap: anywhere; }
.config summary { cursor: pointer; padding: .15rem 0; }
.config b { font-weight: 400; color: var(--accent); }
summary:focus-visible { outline: 2px solid var(--accent); border-radius: 3px; }
@media (max-width: 34rem) {
  body { padding-top: 1.25rem; }
  .metrics { grid-template-columns: 1fr 1fr; }
  .facts { grid-template-columns: 1fr; }
  .metrics dd { font-size: 1.35rem; }
}
@media print { body { background: #fff; } .scroll { max-height: none; } }
"""
