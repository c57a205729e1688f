"""Is anything listening where a model is said to be?"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from exegete.errors import LLMUnavailable
from exegete.llm.names import ModelName

TIMEOUT_S = 5.0


async def check_reachable(name: ModelName) -> None:
    """Try to connect to a compatible server once, so that a wrong address is said at once.

    A job's own calls retry for minutes, which is right at night and wrong for a typing mistake.

    Args:
        name: the model; one without a URL is not checked.

    Raises:
        LLMUnavailable: nothing listens there.
    """
    if name.url is None:
        return
    parts = urlsplit(name.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        raise LLMUnavailable(
            f"no server answers at {name.url} ({type(error).__name__}): start it, or correct the URL after @"
        ) from error
    writer.close()
