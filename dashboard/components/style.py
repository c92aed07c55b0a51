"""The little that Streamlit's theme cannot say.

Less air above the page, cards that keep to a grid, and no running figure with a Stop button whenever the page polls.
"""

import streamlit as st

from dashboard.theme import DARK, LIGHT, ON_PRIMARY

DARK_CSS = f"""<style>
[data-testid^="stBaseButton-primary"]:not(:disabled), [data-baseweb="tag"] {{ color: {ON_PRIMARY["dark"]} !important; }}
.fm-bar i {{ background: {DARK["primaryColor"]}; }}
</style>"""
CSS = """<style>
[data-testid="stStatusWidget"] { display: none; }
.stMainBlockContainer { padding-top: 3.2rem; padding-bottom: 3rem; max-width: 1500px; }
@media (max-width: 640px) { .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; } }
:has(> .st-key-said-last) { position: fixed; right: 1rem; bottom: 1rem; width: min(34rem, 100% - 2rem); z-index: 9;
  border-radius: 8px; background: Canvas; }
[data-testid="stPageLink-NavLink"] span, [data-testid="stPageLink-NavLink"] p { white-space: normal; }
[class*="st-key-item-row-"] { flex-wrap: nowrap; }
[class*="st-key-item-row-"] > :last-child { flex: none; }
[class*="st-key-item-row-"] label * { white-space: normal; overflow-wrap: anywhere; }
.fm-tables { overflow: auto; border: 1px solid rgba(128, 128, 128, .3); border-radius: 8px; }
.fm-tables:has(tr:nth-child(13)) { max-height: min(34rem, 85vh); }
.fm-table { width: 100%; border-collapse: separate; border-spacing: 0; font-size: .875rem; line-height: 1.4; }
.fm-table th, .fm-table td { text-align: left; vertical-align: top; padding: .45rem .6rem; white-space: nowrap; }
.fm-table th { font-weight: 400; opacity: .75; }
.fm-table td { border-top: 1px solid rgba(128, 128, 128, .3); }
.fm-table td.fm-long { white-space: normal; overflow-wrap: anywhere; min-width: 14rem; }
.fm-bar { display: inline-block; width: 5rem; height: .5rem; margin-right: .5rem; border-radius: 4px;
  overflow: hidden; background: rgba(128, 128, 128, .25); }
.fm-bar i { display: block; height: 100%; background: PRIMARY; }
@media (max-width: 640px) {
  .fm-table thead { display: none; }
  .fm-table tr, .fm-table tbody { display: block; }
  .fm-table tr { padding: .4rem 0; }
  .fm-table tr + tr { border-top: 1px solid rgba(128, 128, 128, .3); }
  .fm-table td, .fm-table td.fm-long { display: flex; gap: .6rem; border: 0; padding: .2rem .7rem; white-space: normal;
    overflow-wrap: anywhere; min-width: 0; }
  .fm-table td:first-child { font-weight: 600; }
  .fm-table td:empty, .fm-table td.fm-aside { display: none; }
  .fm-bar { align-self: center; margin-right: 0; }
  .fm-table td::before { content: attr(data-label); flex: 0 0 7.5rem; font-weight: 400; opacity: .75; }
}
.fm-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 14px; }
.fm-card { display: flex; flex-direction: column; gap: 4px; min-width: 0; }
.fm-cover { position: relative; aspect-ratio: 2 / 3; border-radius: 8px; overflow: hidden;
  background: rgba(128, 128, 128, .18); display: flex; align-items: center; justify-content: center; }
.fm-cover img { width: 100%; height: 100%; object-fit: cover; }
.fm-cover span { width: 100%; height: 100%; display: flex; align-items: center; justify-content: center; color: #fff;
  font-size: 1.3rem; letter-spacing: .05em; }
.fm-rank { position: absolute; left: 6px; top: 6px; padding: 0 7px; border-radius: 9px; font-size: .74rem;
  background: rgba(0, 0, 0, .62); color: #fff; }
.fm-title, .fm-meta { overflow-wrap: anywhere; }
.fm-title { font-size: .88rem; font-weight: 600; line-height: 1.25; display: -webkit-box; -webkit-line-clamp: 2;
  -webkit-box-orient: vertical; overflow: hidden; }
.fm-meta { font-size: .76rem; opacity: .7; line-height: 1.3; }
.fm-badge { font-size: .72rem; border: 1px solid currentColor; border-radius: 8px; padding: 0 6px; align-self: start; }
.fm-list .fm-cards { display: flex; flex-direction: column; gap: 8px; }
.fm-list .fm-card { display: grid; grid-template: "cover title badge" auto "cover meta moved" auto
  "cover because because" auto "cover why why" 1fr
  / 42px minmax(0, 1fr) auto; gap: 2px 10px; }
.fm-list .fm-cover { grid-area: cover; align-self: start; border-radius: 5px; }
.fm-list .fm-cover span { font-size: .9rem; }
.fm-list .fm-rank { left: 2px; top: 2px; padding: 0 5px; font-size: .66rem; }
.fm-list .fm-title { grid-area: title; }
.fm-list .fm-meta { grid-area: meta; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.fm-list .fm-badge { grid-area: badge; }
.fm-because { grid-area: because; font-size: .76rem; line-height: 1.3; overflow-wrap: anywhere; display: -webkit-box;
  -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; }
.fm-moved { grid-area: moved; font-size: .72rem; line-height: 1.2; opacity: .8; text-align: right; }
.fm-why { grid-area: why; display: flex; height: 7px; margin-top: 3px; }
.fm-why span { box-sizing: border-box; }
.fm-legend { display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: .8rem; }
.fm-legend i { display: inline-block; width: 10px; height: 10px; margin-right: 5px; }
.st-key-answers [data-testid=stHorizontalBlock], .st-key-map [data-testid=stHorizontalBlock] { flex-wrap: wrap; }
.st-key-answers [data-testid=stColumn] { min-width: 250px; }
.st-key-map [data-testid=stColumn] { min-width: min(320px, 100%); }
.fm-small .fm-cards { grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 8px; }
.fm-strip .fm-cards { display: flex; overflow-x: auto; padding-bottom: 6px; }
.fm-strip .fm-card { flex: 0 0 76px; }
.fm-small .fm-title, .fm-strip .fm-title { font-size: .72rem; font-weight: 500; }
</style>""".replace("PRIMARY", LIGHT["primaryColor"])


def apply_style() -> None:
    """Apply the style, once for every run of the script."""
    st.html(CSS + DARK_CSS if st.context.theme.type == "dark" else CSS)
