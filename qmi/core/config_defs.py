"""The sections of the configuration."""

from qmi.config.schema import (
    CfgContext,
    CfgDiscovery,
    CfgLimits,
    CfgLogging,
    CfgProcessHost,
    CfgProcessManagement,
    CfgQmi,
    CfgSecurity,
)

__all__ = [
    "CfgContext",
    "CfgDiscovery",
    "CfgLimits",
    "CfgLogging",
    "CfgProcessHost",
    "CfgProcessManagement",
    "CfgQmi",
    "CfgSecurity",
]
