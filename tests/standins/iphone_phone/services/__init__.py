"""The services that lockdown starts, by name."""

from collections.abc import Mapping

from iphone_phone.pump import Service
from iphone_phone.services import (
    developer,
    diagnostics,
    files,
    installation,
    logs,
    mounter,
    profiles,
    small,
)

CLASSIC: Mapping[str, Service] = {
    "com.apple.afc": files.media,
    "com.apple.amfi.lockdown": small.developer_mode,
    "com.apple.crashreportcopymobile": files.crash_reports,
    "com.apple.crashreportmover": files.move_crash_reports,
    "com.apple.instruments.remoteserver.DVTSecureSocketProxy": developer.instruments,
    "com.apple.internal.devicecompute.CoreDeviceProxy": developer.tunnel,
    "com.apple.misagent": profiles.serve,
    "com.apple.mobile.MCInstall": profiles.configuration,
    "com.apple.mobile.diagnostics_relay": diagnostics.serve,
    "com.apple.mobile.heartbeat": small.heartbeat,
    "com.apple.mobile.house_arrest": files.house_arrest,
    "com.apple.mobile.insecure_notification_proxy": small.notifications,
    "com.apple.mobile.installation_proxy": installation.serve,
    "com.apple.mobile.mobile_image_mounter": mounter.serve,
    "com.apple.mobile.notification_proxy": small.notifications,
    "com.apple.os_trace_relay": logs.os_trace,
    "com.apple.syslog_relay": logs.syslog,
}
