"""A space whose choices have different numbers of candidates."""

from oneshot.architecture import Choice
from oneshot.spaces.base import SearchSpace


class Ragged(SearchSpace):
    """Choices with 2, 5 and 3 candidates."""

    name = "ragged"
    choices = tuple(Choice(f"cell/{i}->t", tuple("abcde"[:n]), "t") for i, n in enumerate((2, 5, 3)))

    def allowed(self, prefix):
        return tuple(range(len(self.choices[len(prefix)].candidates)))

    def supernet(self):
        raise NotImplementedError

    def network(self, architecture, inherit=None):
        raise NotImplementedError

    def discretize(self, scores):
        return self.architecture(scores.argmax(1).tolist())
