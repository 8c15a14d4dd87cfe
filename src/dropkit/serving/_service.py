"""A service that is asked: a function of Python, or an HTTP endpoint."""

import ipaddress
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from dropkit.errors import OptionError, ProbeError

#: An answer longer than this is no answer of a router, an encoder or a chatbot.
MOST_BYTES = 8 << 20

Ask = Callable[[Any], Any]


def service_of(service: Any, timeout_s: float) -> Ask:
    """What to call with a request to get the answer.

    Raises:
        OptionError: `service` is neither callable nor the URL of an HTTP endpoint.
    """
    if callable(service):
        return _guarded(service)
    if isinstance(service, str):
        return _Endpoint(service, timeout_s)
    raise OptionError(
        f"`service` must be a callable or the URL of an endpoint; got a {type(service).__name__}."
    )


def timed(ask: Ask, request: Any) -> tuple[Any, float]:
    """The answer to a request, and the seconds that it took."""
    begin = time.perf_counter()
    answer = ask(request)
    return answer, time.perf_counter() - begin


def _guarded(service: Ask) -> Ask:
    def ask(request: Any) -> Any:
        try:
            return service(request)
        except Exception as error:
            raise ProbeError(f"the service raised {_said(error)}.") from error

    return ask


class _Endpoint:
    """Sends each request as JSON by POST, and reads JSON."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"`service` must be an http:// or https:// URL; got {url!r}.")
        self._url, self._timeout_s = url, timeout_s
        # what runs on this machine is not asked for through somebody's proxy
        proxies = [urllib.request.ProxyHandler({})] if _is_here(parts.hostname) else []
        self._opener = urllib.request.build_opener(*proxies, _NoRedirect)

    def __call__(self, request: Any) -> Any:
        try:
            body = json.dumps(request, allow_nan=False).encode("utf-8")
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"a request to an endpoint must be JSON; one cannot be written: {error}."
            ) from error
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        message = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - http only, see above
        try:
            with self._opener.open(message, timeout=self._timeout_s) as response:
                data = response.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise ProbeError(f"{self._url} answered with status {error.code}.") from error
        except TimeoutError as error:
            raise self._late() from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._late() from error
            raise ProbeError(f"{self._url} cannot be reached: {error.reason}.") from error
        except OSError as error:
            raise ProbeError(f"{self._url} broke off: {_said(error)}.") from error
        except Exception as error:  # http.client's own: half a header, half a body
            raise ProbeError(f"{self._url} answered no HTTP: {_said(error)}.") from error
        if len(data) > MOST_BYTES:
            raise ProbeError(f"{self._url} answered with more than {MOST_BYTES >> 20} MiB.")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ProbeError(f"{self._url} answered with something that is no JSON.") from error

    def _late(self) -> ProbeError:
        return ProbeError(f"{self._url} did not answer within {self._timeout_s:g} s.")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A request goes where it is sent, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None lets the status stand as the answer."""
        return


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _said(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), "").rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
