// What the app answers: `status.json` after every event, `result.json` at the end.

/// `ProcessInfo.thermalState`.
public enum Thermal: String, Codable {
    case nominal, fair, serious, critical
}

/// How the phone fared at a moment.
public struct Conditions: Codable, Equatable {
    public let thermal: Thermal
    public let lowPowerMode: Bool

    enum CodingKeys: String, CodingKey {
        case thermal
        case lowPowerMode = "low_power_mode"
    }

    public init(thermal: Thermal, lowPowerMode: Bool) {
        self.thermal = thermal
        self.lowPowerMode = lowPowerMode
    }
}

/// How far a launch is: what was said until now.
public struct StatusFile: Codable, Equatable {
    public let format: Int
    public let job: String
    public let nonce: String
    public let pid: Int
    public let events: [Event]

    enum CodingKeys: String, CodingKey {
        case format
        case job
        case nonce
        case pid
        case events
    }
}

/// All that a launch has to say; its last event is how it ended.
///
/// `modelSha256` is of the file that was found: no other than the job's is run, and `events` is
/// empty then. `predicted` is what `MLComputePlan` expects to run where: a prediction, no evidence.
public struct ResultFile: Codable, Equatable {
    public let format: Int
    public let job: String
    public let nonce: String
    public let modelSha256: String
    public let appVersion: String
    public let before: Conditions
    public let after: Conditions
    public let events: [Event]
    public let compileNs: Int64?
    public let placementsSource: String
    public let predicted: [Placement]

    enum CodingKeys: String, CodingKey {
        case format
        case job
        case nonce
        case modelSha256 = "model_sha256"
        case appVersion = "app_version"
        case before
        case after
        case events
        case compileNs = "compile_ns"
        case placementsSource = "placements_source"
        case predicted
    }

    public func encode(to encoder: Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(format, forKey: .format)
        try fields.encode(job, forKey: .job)
        try fields.encode(nonce, forKey: .nonce)
        try fields.encode(modelSha256, forKey: .modelSha256)
        try fields.encode(appVersion, forKey: .appVersion)
        try fields.encode(before, forKey: .before)
        try fields.encode(after, forKey: .after)
        try fields.encode(events, forKey: .events)
        try fields.encode(compileNs, forKey: .compileNs)
        try fields.encode(placementsSource, forKey: .placementsSource)
        try fields.encode(predicted, forKey: .predicted)
    }
}
