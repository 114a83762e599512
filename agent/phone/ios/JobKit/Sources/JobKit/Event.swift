// What a launch says while it runs; each case is a JSON object with an `event`.

/// The events of `runners.reports`; the last five end a launch.
public enum Event: Equatable {
    case runtime(version: String, runtimeNs: Int64)
    case loaded(loadNs: Int64)
    case first(firstInferenceNs: Int64)
    case finished(Finished)
    case refused(reason: String)
    case outOfMemory(reason: String)
    case badInputs(reason: String)
    case missing(reason: String)
}

extension Event: Codable {
    enum Kind: String, Codable {
        case runtime, loaded, first, finished, refused, missing
        case outOfMemory = "out_of_memory"
        case badInputs = "bad_inputs"
    }

    enum CodingKeys: String, CodingKey {
        case event
        case version
        case runtimeNs = "runtime_ns"
        case loadNs = "load_ns"
        case firstInferenceNs = "first_inference_ns"
        case reason
    }

    public init(from decoder: Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        switch try fields.decode(Kind.self, forKey: .event) {
        case .runtime:
            self = .runtime(
                version: try fields.decode(String.self, forKey: .version),
                runtimeNs: try fields.decode(Int64.self, forKey: .runtimeNs))
        case .loaded:
            self = .loaded(loadNs: try fields.decode(Int64.self, forKey: .loadNs))
        case .first:
            let taken = try fields.decode(Int64.self, forKey: .firstInferenceNs)
            self = .first(firstInferenceNs: taken)
        case .finished:
            self = .finished(try Finished(from: decoder))
        case .refused:
            self = .refused(reason: try fields.decode(String.self, forKey: .reason))
        case .outOfMemory:
            self = .outOfMemory(reason: try fields.decode(String.self, forKey: .reason))
        case .badInputs:
            self = .badInputs(reason: try fields.decode(String.self, forKey: .reason))
        case .missing:
            self = .missing(reason: try fields.decode(String.self, forKey: .reason))
        }
    }

    public func encode(to encoder: Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .runtime(let version, let runtimeNs):
            try fields.encode(Kind.runtime, forKey: .event)
            try fields.encode(version, forKey: .version)
            try fields.encode(runtimeNs, forKey: .runtimeNs)
        case .loaded(let loadNs):
            try fields.encode(Kind.loaded, forKey: .event)
            try fields.encode(loadNs, forKey: .loadNs)
        case .first(let firstInferenceNs):
            try fields.encode(Kind.first, forKey: .event)
            try fields.encode(firstInferenceNs, forKey: .firstInferenceNs)
        case .finished(let finished):
            try fields.encode(Kind.finished, forKey: .event)
            try finished.encode(to: encoder)
        case .refused(let reason):
            try fields.encode(Kind.refused, forKey: .event)
            try fields.encode(reason, forKey: .reason)
        case .outOfMemory(let reason):
            try fields.encode(Kind.outOfMemory, forKey: .event)
            try fields.encode(reason, forKey: .reason)
        case .badInputs(let reason):
            try fields.encode(Kind.badInputs, forKey: .event)
            try fields.encode(reason, forKey: .reason)
        case .missing(let reason):
            try fields.encode(Kind.missing, forKey: .event)
            try fields.encode(reason, forKey: .reason)
        }
    }
}
