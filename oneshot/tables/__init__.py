"""Published accuracies of whole spaces, as the package holds them: looked up by architecture."""

from .published import Lookup, Published, lookup_for, published

__all__ = ["Lookup", "Published", "lookup_for", "published"]
