"""Fill a template of this folder with a page's data."""

from pathlib import Path

from dropkit.errors import MissingExtraError


def fill(template: str, page: object) -> str:
    """The text of the HTML `template` for `page`; every text in it is escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - extra
    except ImportError as error:
        message = "the report needs jinja2: pip install 'dropkit[study]'."
        raise MissingExtraError(message) from error
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(page=page)
