"""The release check: reports held against a policy."""

from dropkit.serving.releasing._gate import gate
from dropkit.serving.releasing._outcome import Outcome, Release
from dropkit.serving.releasing._sections import SECTIONS

__all__ = ["SECTIONS", "Outcome", "Release", "gate"]
