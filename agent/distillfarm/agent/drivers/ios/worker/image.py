"""The developer image, without which nothing can be launched; a restart of the phone removes it."""

from collections.abc import Awaitable, Callable

from pymobiledevice3.exceptions import (
    AlreadyMountedError,
    DeveloperModeIsNotEnabledError,
    PyMobileDevice3Exception,
)
from pymobiledevice3.lockdown_service_provider import LockdownServiceProvider
from pymobiledevice3.services.mobile_image_mounter import (
    MobileImageMounterService,
    auto_mount,
    uses_personalized_image,
)

from distillfarm.agent.drivers.ios.worker.lockdown import trusted

# From here on the image comes as a cryptex, which is installed through the tunnel.
_CRYPTEX_SINCE = 27


class ImageUnavailable(Exception):
    """There is no developer image for the phone, or Apple's signature for it cannot be had."""


async def mounted(udid: str) -> bool:
    """See ``protocol.ImageMounted``."""
    async with trusted(udid) as client:
        kind = "Personalized" if uses_personalized_image(client) else "Developer"
        async with MobileImageMounterService(client) as service:
            return bool(await service.is_image_mounted(kind))


async def mount(
    udid: str, through_tunnel: Callable[[], Awaitable[LockdownServiceProvider]]
) -> bool:
    """See ``protocol.MountImage``.

    Raises:
        ImageUnavailable: see there.
    """
    if await mounted(udid):
        return False
    async with trusted(udid) as client:
        cryptex = int(client.product_version.partition(".")[0]) >= _CRYPTEX_SINCE
        try:
            await auto_mount(await through_tunnel() if cryptex else client)
        except AlreadyMountedError:
            return False
        except DeveloperModeIsNotEnabledError:
            raise
        except (PyMobileDevice3Exception, OSError, ValueError) as error:
            # Among them whatever fails between here and Apple's servers.
            raise ImageUnavailable(f"{type(error).__name__}: {error}") from error
    return True
