"""Prompting: the system message asks for the emotion by name.

Source: the elicitation prompt of Wang et al. (arXiv 2510.11328). Difference: the decoding is the run's own, with the
same repetition penalty as for every other controller; the paper's prompting has none.
"""

from emobench import Control, Sample, Setting, controller, elicitation_messages


@controller
class Prompting:
    def control(self, sample: Sample, setting: Setting) -> Control:
        return Control(elicitation_messages(sample))
