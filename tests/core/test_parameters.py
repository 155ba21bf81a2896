import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from workbench.core.errors import NotFittedError, ParameterError
from workbench.core.parameters import Parameterised


class Thing(Parameterised):
    def __init__(self, size: int = 3, model=None):
        self.size = size
        self.model = model

    def fit(self):
        self.learned_ = 1
        return self


def test_parameters_follow_scikit_learns_rules():
    thing = Thing(5, model=Ridge(2.0))
    assert thing.get_params()["model__alpha"] == 2.0
    assert thing.get_params(deep=False) == {"size": 5, "model": thing.model}
    copy = clone(thing)
    assert copy.size == 5 and copy.model is not thing.model and copy.model.alpha == 2.0
    assert thing.set_params(size=7, model__alpha=0.5).size == 7
    assert thing.model.alpha == 0.5


def test_a_misspelled_parameter_is_named():
    with pytest.raises(ParameterError, match="parameter 'sise'.*Did you mean 'size'"):
        Thing().set_params(sise=2)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Thing()) == "Thing()"
    assert repr(Thing(4)) == "Thing(size=4)"


def test_answers_before_fit_are_refused():
    with pytest.raises(NotFittedError, match="Thing has not been fitted"):
        Thing()._require_fitted()
    Thing().fit()._require_fitted()
