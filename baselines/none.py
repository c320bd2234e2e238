"""No control: the neutral prompt and an untouched model. What every other controller has to beat."""

from emobench import Control, Sample, Setting, controller, neutral_messages


@controller
class NoControl:
    def control(self, sample: Sample, setting: Setting) -> Control:
        return Control(neutral_messages(sample))
