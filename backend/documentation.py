"""The page at /docs: Swagger UI, whose files come from a package, so that no browser asks another server for them."""

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from backend.links import Links

PAGE, FILES = "/docs", "/docs/files"
# Otherwise a server that is not on this machine has its document judged by validator.swagger.io.
PARAMETERS = {"validatorUrl": None}


def add_documentation(app: FastAPI, links: Links) -> None:
    """Serve the page and its files, and lead to it from /."""
    files = links.path(FILES)
    app.mount(FILES, StaticFiles(packages=[("fastapi_offline", "static")]))
    page = get_swagger_ui_html(
        openapi_url=links.path("/openapi.json"),
        title=app.title,
        swagger_js_url=f"{files}/swagger-ui-bundle.js",
        swagger_css_url=f"{files}/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters=PARAMETERS,
    )

    async def documentation() -> HTMLResponse:
        return page

    async def start() -> RedirectResponse:
        return RedirectResponse(links.path(PAGE))

    app.add_api_route(PAGE, documentation, include_in_schema=False)
    app.add_api_route("/", start, include_in_schema=False)
