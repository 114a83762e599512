// One launch: compile, load, first inference, warm-up, samples, evidence; in this order.

import Foundation

/// What only the result file tells of a launch.
public struct Aside: Equatable {
    public var compileNs: Int64?
    public var placementsSource = ""
    public var predicted: [Placement] = []

    public init() {}
}

/// Runs a job on a phone and says what happens; the last event is how it ended.
public struct Launch {
    private let job: JobFile
    private let plan: LaunchPlan
    private let phone: Phone
    private let documents: URL
    private let say: (Event) -> Void

    public init(
        _ job: JobFile, plan: LaunchPlan, on phone: Phone, documents: URL,
        say: @escaping (Event) -> Void
    ) {
        self.job = job
        self.plan = plan
        self.phone = phone
        self.documents = documents
        self.say = say
    }

    /// `launchedNs` is when the process was started; `open` loads the job's runtime.
    public func run(launchedNs: Int64, opening open: () throws -> LoadedRuntime) -> Aside {
        var aside = Aside()
        do {
            say(.finished(try measure(launchedNs, open, &aside)))
        } catch LaunchFailure.refused(let reason) {
            say(.refused(reason: reason))
        } catch LaunchFailure.outOfMemory(let reason) {
            say(.outOfMemory(reason: reason))
        } catch LaunchFailure.badInputs(let reason) {
            say(.badInputs(reason: reason))
        } catch LaunchFailure.missing(let reason) {
            say(.missing(reason: reason))
        } catch {
            // Whatever a runtime throws is its reason not to run the model.
            say(.refused(reason: "\(error)"))
        }
        return aside
    }

    private func measure(
        _ launchedNs: Int64, _ open: () throws -> LoadedRuntime, _ aside: inout Aside
    ) throws -> Finished {
        let openingNs = phone.now()
        let runtime = try open()
        let runtimeNs = phone.now() - openingNs
        let baseline = phone.footprint().peak
        say(.runtime(version: runtime.version, runtimeNs: runtimeNs))
        // What only the measuring needs is left out of the time to the first output.
        var oursNs = phone.now() - openingNs - runtimeNs

        if plan.compiles {
            let compilingNs = phone.now()
            try runtime.compile()
            aside.compileNs = phone.now() - compilingNs
        }

        let loadingNs = phone.now()
        let model = try runtime.load()
        let loadedNs = phone.now()
        let loaded = phone.footprint().peak
        say(.loaded(loadNs: loadedNs - loadingNs))
        let given = try readNpz(file(job.inputs))
        let cases = try makeCases(
            try model.inputs(given: given), inputs: given,
            expected: try readNpz(file(job.expected)))
        oursNs += phone.now() - loadedNs

        let invoke = try model.bind(cases[0].inputs)
        let firstNs = phone.now()
        try invoke()
        let doneNs = phone.now()
        var errors = try compare(try model.outputs(), with: cases[0].expected)
        say(.first(firstInferenceNs: doneNs - firstNs))

        let warmup = try warmUp(invoke, most: job.maxWarmup, clock: phone.now)
        let samplingNs = phone.now()
        let extent = Extent(
            most: max(job.iterations, job.least), least: job.least, kept: job.kept,
            maxS: job.maxSamplingS)
        let sampled = try sample(invoke, extent, clock: phone.now)
        let sampledNs = phone.now()
        let footprint = phone.footprint()

        for each in cases.dropFirst() {
            try model.bind(each.inputs)()
            errors += try compare(try model.outputs(), with: each.expected)
        }
        let placements = try model.placements()
        aside.placementsSource = runtime.placementsSource
        // Predicting may load the model once more, so it comes after all that is measured; a
        // launch is no worse without.
        aside.predicted = (try? model.predicted()) ?? []
        return Finished(
            firstOutputNs: doneNs - launchedNs - oursNs,
            runtimeNs: runtimeNs,
            loadNs: loadedNs - loadingNs,
            firstInferenceNs: doneNs - firstNs,
            warmupNs: warmup,
            samplesNs: sampled.samples,
            inferences: sampled.inferences,
            samplingBeganNs: samplingNs,
            samplingEndedNs: sampledNs,
            memory: MemoryReading(
                peakMethod: "physFootprint",
                baselineBytes: baseline,
                loadedBytes: loaded,
                peakBytes: footprint.peak,
                residentMethod: "physFootprint",
                residentBytes: footprint.now),
            placements: placements,
            errors: worst(errors),
            version: runtime.version,
            coldStart: plan.coldStart,
            pageCacheResident: nil)
    }

    private func file(_ path: String) -> URL? {
        path.isEmpty ? nil : documents.appendingPathComponent(path)
    }
}
