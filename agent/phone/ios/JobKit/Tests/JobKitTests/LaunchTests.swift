import Foundation
import XCTest

@testable import JobKit

/// A phone whose time passes only while something runs.
private final class StillPhone: Phone {
    var time: Int64 = 1_000

    func now() -> Int64 { time }

    func footprint() -> (now: Int64, peak: Int64) { (2_000, 3_000) }

    func conditions() -> Conditions {
        Conditions(thermal: .nominal, lowPowerMode: false)
    }
}

/// A runtime that doubles its input, and takes fixed times for everything.
private final class Doubler: LoadedRuntime, Model {
    let version = "1.0"
    let placementsSource = "told"
    let phone: StillPhone
    var given: FixedArray?
    var failure: LaunchFailure?

    init(_ phone: StillPhone) {
        self.phone = phone
    }

    func compile() throws { phone.time += 500 }

    func load() throws -> Model {
        if let failure { throw failure }
        phone.time += 70
        return self
    }

    func inputs(given: [String: FixedArray]) throws -> [Tensor] {
        [Tensor(name: "x", type: .float32, shape: [1, 2])]
    }

    func bind(_ arrays: [String: FixedArray]) throws -> Invoke {
        given = arrays["x"]
        return { [self] in phone.time += 10 }
    }

    func outputs() throws -> [String: FixedArray] {
        let values = (given?.values ?? []).map { $0 * 2 }
        return ["y": FixedArray(type: .float32, shape: [1, 2], values: values)]
    }

    func placements() throws -> [Placement] { [Placement(unit: "Doubler", nodes: 1)] }

    func predicted() throws -> [Placement] { [Placement(unit: "CPU", nodes: 1)] }
}

final class LaunchTests: XCTestCase {
    private let phone = StillPhone()
    private var said: [Event] = []

    private func run(_ golden: String, kept: Bool, _ runtime: Doubler) throws -> Aside {
        let place = GoldenFiles.folder.appendingPathComponent("\(golden).json")
        let job = try JobFile.read(try Data(contentsOf: place))
        let plan = LaunchPlan(job, keepsCompiledModel: kept)
        let launch = Launch(
            job, plan: plan, on: phone, documents: URL(fileURLWithPath: "/nowhere"),
            say: { self.said.append($0) })
        return launch.run(launchedNs: 0, opening: { runtime })
    }

    func testACompiledLaunchTellsItsTimesApart() throws {
        let aside = try run("job_coreml", kept: false, Doubler(phone))
        XCTAssertEqual(aside.compileNs, 500)
        XCTAssertEqual(aside.predicted, [Placement(unit: "CPU", nodes: 1)])
        guard case .finished(let finished)? = said.last else { return XCTFail("\(said)") }
        XCTAssertEqual(finished.loadNs, 70)
        XCTAssertEqual(finished.firstInferenceNs, 10)
        XCTAssertEqual(finished.firstOutputNs, 1_000 + 500 + 70 + 10)
        XCTAssertEqual(Set(finished.samplesNs), [10])
        XCTAssertEqual(finished.inferences, finished.samplesNs.count)
        XCTAssertEqual(finished.coldStart, .firstEver)
        XCTAssertEqual(finished.memory.peakMethod, "physFootprint")
    }

    func testAFailureIsTheLastEvent() throws {
        let runtime = Doubler(phone)
        runtime.failure = .outOfMemory("refused 8 GB")
        _ = try run("job_coreml", kept: true, runtime)
        XCTAssertEqual(said.last, .outOfMemory(reason: "refused 8 GB"))
    }

    func testAFileOfArraysThatIsNotThereIsBadInputs() throws {
        _ = try run("job_onnxruntime", kept: true, Doubler(phone))
        guard case .badInputs? = said.last else { return XCTFail("\(said)") }
    }

    func testAModelThatWasNeverCompiledMakesAFirstStart() throws {
        for golden in ["job_coreml", "job_coreai"] {
            let place = GoldenFiles.folder.appendingPathComponent("\(golden).json")
            let text = try String(contentsOf: place, encoding: .utf8)
                .replacingOccurrences(of: "first_ever", with: "new_process")
            let job = try JobFile.read(Data(text.utf8))
            XCTAssertEqual(LaunchPlan(job, keepsCompiledModel: true).coldStart, .newProcess)
            XCTAssertEqual(LaunchPlan(job, keepsCompiledModel: false).coldStart, .firstEver)
            XCTAssertFalse(LaunchPlan(job, keepsCompiledModel: false).emptiesCaches)
        }
    }
}

final class LoopTests: XCTestCase {
    func testWarmingUpEndsWhenMediansFallNoFurther() throws {
        var time: Int64 = 0
        var steps: [Int64] = Array(repeating: 100, count: 5) + Array(repeating: 50, count: 45)
        let taken = try warmUp(
            { time += steps.removeFirst() }, most: 50, clock: { time })
        XCTAssertEqual(taken.count, 25)
    }

    func testSamplingEndsInTimeButNotBeforeTheLeast() throws {
        var time: Int64 = 0
        let extent = Extent(most: 100, least: 10, kept: 100, maxS: 2)
        let sampled = try sample({ time += 1_000_000_000 }, extent, clock: { time })
        XCTAssertEqual(sampled.samples.count, 10)
        XCTAssertEqual(sampled.inferences, 10)
    }

    func testOfManyInferencesThoseAreKeptThatTheOtherRunnersKeep() throws {
        let place = GoldenFiles.folder.appendingPathComponent("kept_of_100_in_8.json")
        let expected = try JSONDecoder().decode([Int64].self, from: Data(contentsOf: place))
        var time: Int64 = 0
        var count: Int64 = 0
        let extent = Extent(most: 100, least: 0, kept: 8, maxS: .infinity)
        let sampled = try sample(
            {
                time += count
                count += 1
            }, extent, clock: { time })
        XCTAssertEqual(sampled.samples, expected)
        XCTAssertEqual(sampled.inferences, 100)
    }
}
