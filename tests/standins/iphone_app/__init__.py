"""The app of a stand-in iPhone: the files of ``agent/phone/ios``, and real inference behind them.

``python -m iphone_app --container FOLDER --job ID`` is one launch, a process that a stand-in phone
starts as a phone starts an app: ``FOLDER`` is the app's container, with ``Documents`` and
``Library/Caches`` inside. It runs ONNX Runtime, LiteRT and Core AI by
``distillfarm.agent.program``, so its times and its memory are those of this computer, told by the
methods of this computer. Core ML is not to be had outside of Apple's systems: such a job is
answered with ``missing``, like one for a runtime that an app was built without.

``IPHONE_CONDITIONS`` names a JSON file of ``job_files.Conditions`` in which the stand-in phone
tells how it fares; without it the phone is cool and at full power.
"""
