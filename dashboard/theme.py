"""The colours of the pages, of the sign-in page as well."""

LIGHT = {
    "primaryColor": "#0072B2",
    "backgroundColor": "#FFFFFF",
    "secondaryBackgroundColor": "#F3F5F8",
    "textColor": "#1B2330",
}
DARK = {
    "primaryColor": "#56B4E9",
    "backgroundColor": "#11151C",
    "secondaryBackgroundColor": "#1A202B",
    "textColor": "#E8ECF2",
}
ON_PRIMARY = {"light": "#FFFFFF", "dark": "#11151C"}  # words on a button; Streamlit's own are white on both
