"""The product's sign: clients around what they share, and beside its name."""

# Drawn here, because Streamlit would fetch a named icon from another site.
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<g stroke="#56B4E9" stroke-width="2"><path d="M16 16 16 5M16 16 26 12M16 16 22 26M16 16 10 26M16 16 6 12"/></g>
<g fill="#2E8BC9"><circle cx="16" cy="5" r="3.5"/><circle cx="26" cy="12" r="3.5"/><circle cx="22" cy="26" r="3.5"/>
<circle cx="10" cy="26" r="3.5"/><circle cx="6" cy="12" r="3.5"/></g>
<circle cx="16" cy="16" r="5" fill="#D55E00"/></svg>"""
WORDMARK = ICON.replace('viewBox="0 0 32 32"', 'viewBox="0 0 136 32" width="136" height="32"').replace(
    "</svg>",
    '<text x="40" y="23" font-family="sans-serif" font-size="20" font-weight="700" fill="#2E8BC9">FedMem</text></svg>',
)
