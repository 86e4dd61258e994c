"""Where the built documentation is, for the link in the HTML that a notebook shows of an estimator."""

from __future__ import annotations

ADDRESS = ""
"""URL of the published documentation, without a slash at the end. "" means that it is not published."""


class Documented:
    """Mixin, before ``BaseEstimator``: the HTML links to the class's page, once there is an :data:`ADDRESS`.

    Subclasses outside the package have no page, and no link.
    """

    _doc_link_module = "skswae"

    @property
    def _doc_link_template(self) -> str:
        return f"{ADDRESS}/api/{{estimator_module}}.{{estimator_name}}.html" if ADDRESS else ""
