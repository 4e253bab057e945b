"""What the gateway can be told: settings, where they come from, and the matchers that their rules are written
in.

Here belongs everything that is decided before the first alert arrives. What acts on a setting lives with the
package that acts; nothing here opens a socket, and only `layers` opens a file.
"""

from __future__ import annotations

from gateway.config.loading import load
from gateway.config.matchers import Matcher, matches
from gateway.config.settings import Settings

__all__ = ["Matcher", "Settings", "load", "matches"]
