// What one launch is asked to do: `job.json`, read as strictly as the agent writes it.

import Foundation

/// The runtimes that a job can name, as `domain.hardware.Runtime` has them.
public enum RuntimeName: String, Codable {
    case onnxruntime, litert, coreml, executorch, coreai
}

/// Which cold start a launch shows. The agent's third kind, `page_cache_dropped`, is not here:
/// iOS drops no pages for an app.
public enum ColdStart: String, Codable {
    case firstEver = "first_ever"
    case newProcess = "new_process"
}

/// A mistake in `job.json`; the text names the field.
public struct JobMistake: Error, Equatable {
    public let reason: String

    public init(_ reason: String) {
        self.reason = reason
    }
}

/// One launch. `model`, `inputs` and `expected` are paths below `Documents`, the last two empty for
/// made-up inputs and for no comparison. A model of Core ML or Core AI is the tar of its folder. The
/// launch infers until `maxSamplingS` are over and `least` inferences timed, but no more than
/// `iterations`; it tells `kept` samples at most.
public struct JobFile: Codable, Equatable {
    public static let currentFormat = 2

    public let format: Int
    public let job: String
    public let nonce: String
    public let runtime: RuntimeName
    public let delegate: String
    public let model: String
    public let modelSha256: String
    public let inputs: String
    public let expected: String
    public let threads: Int
    public let maxWarmup: Int
    public let iterations: Int
    public let maxSamplingS: Double
    public let cold: ColdStart
    public let least: Int
    public let kept: Int

    enum CodingKeys: String, CodingKey, CaseIterable {
        case format
        case job
        case nonce
        case runtime
        case delegate
        case model
        case modelSha256 = "model_sha256"
        case inputs
        case expected
        case threads
        case maxWarmup = "max_warmup"
        case iterations
        case maxSamplingS = "max_sampling_s"
        case cold
        case least
        case kept
    }

    public init(from decoder: Decoder) throws {
        try refuseUnknownKeys(in: decoder, known: CodingKeys.allCases.map(\.rawValue))
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        format = try fields.decode(Int.self, forKey: .format)
        job = try fields.decode(String.self, forKey: .job)
        nonce = try fields.decode(String.self, forKey: .nonce)
        runtime = try fields.decode(RuntimeName.self, forKey: .runtime)
        delegate = try fields.decode(String.self, forKey: .delegate)
        model = try fields.decode(String.self, forKey: .model)
        modelSha256 = try fields.decode(String.self, forKey: .modelSha256)
        inputs = try fields.decode(String.self, forKey: .inputs)
        expected = try fields.decode(String.self, forKey: .expected)
        threads = try fields.decode(Int.self, forKey: .threads)
        maxWarmup = try fields.decode(Int.self, forKey: .maxWarmup)
        iterations = try fields.decode(Int.self, forKey: .iterations)
        maxSamplingS = try fields.decode(Double.self, forKey: .maxSamplingS)
        cold = try fields.decode(ColdStart.self, forKey: .cold)
        least = try fields.decode(Int.self, forKey: .least)
        kept = try fields.decode(Int.self, forKey: .kept)
    }

    /// Reads `job.json` and checks every value.
    public static func read(_ data: Data) throws -> JobFile {
        let found: JobFile
        do {
            found = try JSONDecoder().decode(JobFile.self, from: data)
        } catch let mistake as JobMistake {
            throw mistake
        } catch {
            throw JobMistake("job.json: \(error)")
        }
        try found.check()
        return found
    }

    private func check() throws {
        try demand(format == JobFile.currentFormat, "format \(format), not \(JobFile.currentFormat)")
        try demand(isIdentifier(job, atMost: 64), "job")
        try demand(isHex(nonce, digits: 32), "nonce")
        try demand(isWord(delegate), "delegate")
        try demand(isPlainPath(model), "model")
        try demand(isHex(modelSha256, digits: 64), "model_sha256")
        try demand(inputs.isEmpty || isPlainPath(inputs), "inputs")
        try demand(expected.isEmpty || isPlainPath(expected), "expected")
        try demand((1...1024).contains(threads), "threads")
        try demand((0...1_000_000).contains(maxWarmup), "max_warmup")
        try demand((0...1_000_000_000_000).contains(iterations), "iterations")
        try demand(maxSamplingS >= 0 && maxSamplingS <= 1e9, "max_sampling_s")
        try demand((0...1_000_000_000_000).contains(least), "least")
        try demand((2...10_000_000).contains(kept), "kept")
    }

    private func demand(_ holds: Bool, _ field: String) throws {
        if !holds {
            throw JobMistake("job.json: \(field) is not what an agent of this version writes")
        }
    }
}
