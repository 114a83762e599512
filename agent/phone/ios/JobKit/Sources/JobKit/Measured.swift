// What a launch found out: the same fields, under the same names, as on every other device.

/// Memory of this process, by `physFootprint`: what iOS holds an app to.
public struct MemoryReading: Codable, Equatable {
    public let peakMethod: String
    public let baselineBytes: Int64
    public let loadedBytes: Int64
    public let peakBytes: Int64
    public let residentMethod: String
    public let residentBytes: Int64?

    enum CodingKeys: String, CodingKey {
        case peakMethod = "peak_method"
        case baselineBytes = "baseline_bytes"
        case loadedBytes = "loaded_bytes"
        case peakBytes = "peak_bytes"
        case residentMethod = "resident_method"
        case residentBytes = "resident_bytes"
    }

    public func encode(to encoder: Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(peakMethod, forKey: .peakMethod)
        try fields.encode(baselineBytes, forKey: .baselineBytes)
        try fields.encode(loadedBytes, forKey: .loadedBytes)
        try fields.encode(peakBytes, forKey: .peakBytes)
        try fields.encode(residentMethod, forKey: .residentMethod)
        try fields.encode(residentBytes, forKey: .residentBytes)
    }
}

/// How many operators a unit took, in the runtime's word.
public struct Placement: Codable, Equatable {
    public let unit: String
    public let nodes: Int

    enum CodingKeys: String, CodingKey {
        case unit
        case nodes
    }

    public init(unit: String, nodes: Int) {
        self.unit = unit
        self.nodes = nodes
    }
}

/// How far an output is from the reference; `largest` is nil where it is no number, or where the
/// shapes differ, and is told as null.
public struct OutputError: Codable, Equatable {
    public let name: String
    public let largest: Double?
    public let magnitude: Double

    enum CodingKeys: String, CodingKey {
        case name
        case largest
        case magnitude
    }

    public func encode(to encoder: Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(name, forKey: .name)
        try fields.encode(largest, forKey: .largest)
        try fields.encode(magnitude, forKey: .magnitude)
    }
}

/// A launch that ran to its end. All times are nanoseconds of the continuous clock; samples are raw
/// and in order.
public struct Finished: Codable, Equatable {
    public let firstOutputNs: Int64
    public let runtimeNs: Int64
    public let loadNs: Int64
    public let firstInferenceNs: Int64
    public let warmupNs: [Int64]
    public let samplesNs: [Int64]
    /// How many were timed; more than there are samples where only some were kept.
    public let inferences: Int
    public let samplingBeganNs: Int64
    public let samplingEndedNs: Int64
    public let memory: MemoryReading
    public let placements: [Placement]
    public let errors: [OutputError]
    public let version: String
    public let coldStart: ColdStart
    /// Always nil here: no page is dropped on iOS.
    public let pageCacheResident: Double?

    enum CodingKeys: String, CodingKey {
        case firstOutputNs = "first_output_ns"
        case runtimeNs = "runtime_ns"
        case loadNs = "load_ns"
        case firstInferenceNs = "first_inference_ns"
        case warmupNs = "warmup_ns"
        case samplesNs = "samples_ns"
        case inferences
        case samplingBeganNs = "sampling_began_ns"
        case samplingEndedNs = "sampling_ended_ns"
        case memory
        case placements
        case errors
        case version
        case coldStart = "cold_start"
        case pageCacheResident = "page_cache_resident"
    }

    public func encode(to encoder: Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(firstOutputNs, forKey: .firstOutputNs)
        try fields.encode(runtimeNs, forKey: .runtimeNs)
        try fields.encode(loadNs, forKey: .loadNs)
        try fields.encode(firstInferenceNs, forKey: .firstInferenceNs)
        try fields.encode(warmupNs, forKey: .warmupNs)
        try fields.encode(samplesNs, forKey: .samplesNs)
        try fields.encode(inferences, forKey: .inferences)
        try fields.encode(samplingBeganNs, forKey: .samplingBeganNs)
        try fields.encode(samplingEndedNs, forKey: .samplingEndedNs)
        try fields.encode(memory, forKey: .memory)
        try fields.encode(placements, forKey: .placements)
        try fields.encode(errors, forKey: .errors)
        try fields.encode(version, forKey: .version)
        try fields.encode(coldStart, forKey: .coldStart)
        try fields.encode(pageCacheResident, forKey: .pageCacheResident)
    }
}
