// Core ML: a compiled model on chosen compute units, and its inputs bound beforehand.

import CoreML
import Foundation
import JobKit

/// Core ML with the compute units that a job's delegate names.
struct CoreMLRuntime: LoadedRuntime {
    // Core ML has no version of its own: it is part of the system.
    let version: String
    let placementsSource = ""

    private let compiled: CompiledModel
    private let configuration = MLModelConfiguration()

    init(_ compiled: CompiledModel, delegate: String) throws {
        self.compiled = compiled
        let system = ProcessInfo.processInfo.operatingSystemVersion
        version = "Core ML, iOS \(system.majorVersion).\(system.minorVersion)"
        switch delegate {
        case "all": configuration.computeUnits = .all
        case "cpu_and_neural_engine": configuration.computeUnits = .cpuAndNeuralEngine
        case "cpu_and_gpu": configuration.computeUnits = .cpuAndGPU
        case "cpu_only": configuration.computeUnits = .cpuOnly
        default:
            throw LaunchFailure.refused(
                "Core ML has no compute units \(delegate); it has all, cpu_and_neural_engine, "
                    + "cpu_and_gpu and cpu_only")
        }
    }

    func compile() throws {
        try compiled.compile()
    }

    func load() throws -> Model {
        let model = try MLModel(contentsOf: compiled.place, configuration: configuration)
        return CoreMLModel(model, at: compiled.place, configuration: configuration)
    }
}

final class CoreMLModel: Model {
    private let model: MLModel
    private let place: URL
    private let configuration: MLModelConfiguration
    private var last: MLFeatureProvider?

    init(_ model: MLModel, at place: URL, configuration: MLModelConfiguration) {
        self.model = model
        self.place = place
        self.configuration = configuration
    }

    func inputs(given: [String: FixedArray]) throws -> [Tensor] {
        try model.modelDescription.inputDescriptionsByName.values
            .sorted { $0.name < $1.name }
            .map { description in
                guard let constraint = description.multiArrayConstraint else {
                    throw LaunchFailure.refused(
                        "input '\(description.name)' is no array; convert the model with arrays")
                }
                return Tensor(
                    name: description.name,
                    type: try elementType(constraint.dataType, of: description.name),
                    shape: constraint.shape.map(\.intValue))
            }
    }

    func bind(_ arrays: [String: FixedArray]) throws -> Invoke {
        let features = try arrays.mapValues { MLFeatureValue(multiArray: try multiArray($0)) }
        let provider = try MLDictionaryFeatureProvider(dictionary: features)
        return { [self] in
            last = try model.prediction(from: provider)
        }
    }

    func outputs() throws -> [String: FixedArray] {
        var found: [String: FixedArray] = [:]
        for name in last?.featureNames ?? [] {
            if let array = last?.featureValue(for: name)?.multiArrayValue {
                found[name] = try fixedArray(array, of: name)
            }
        }
        return found
    }

    /// Core ML offers no way to ask where a model ran.
    func placements() throws -> [Placement] {
        []
    }

    func predicted() throws -> [Placement] {
        guard #available(iOS 17.4, *) else { return [] }
        return try waited { [place, configuration] in
            try await ComputePlan.predicted(of: place, configuration: configuration)
        }
    }
}

private func elementType(_ type: MLMultiArrayDataType, of name: String) throws -> ElementType {
    switch type {
    case .float16: return .float16
    case .float32: return .float32
    case .double: return .float64
    case .int32: return .int32
    default:
        throw LaunchFailure.refused("'\(name)' is of a type that this app does not know: \(type)")
    }
}

private func multiArray(_ array: FixedArray) throws -> MLMultiArray {
    let types: [ElementType: MLMultiArrayDataType] = [
        .float16: .float16, .float32: .float32, .float64: .double, .int32: .int32,
    ]
    guard let type = types[array.type] else {
        throw LaunchFailure.badInputs("Core ML takes no arrays of \(array.type.rawValue)")
    }
    let made = try MLMultiArray(shape: array.shape.map { NSNumber(value: $0) }, dataType: type)
    made.withUnsafeMutableBytes { target, _ in
        _ = array.bytes.copyBytes(to: target)
    }
    return made
}

/// Numbers row after row, whatever gaps the system left between rows.
private func fixedArray(_ array: MLMultiArray, of name: String) throws -> FixedArray {
    let type = try elementType(array.dataType, of: name)
    let shape = array.shape.map(\.intValue)
    let strides = array.strides.map(\.intValue)
    let count = shape.reduce(1, *)
    var bytes = Data(capacity: count * type.size)
    array.withUnsafeBytes { raw in
        for index in 0..<count {
            let at = offset(of: index, shape: shape, strides: strides) * type.size
            bytes.append(contentsOf: raw[at..<(at + type.size)])
        }
    }
    return FixedArray(type: type, shape: shape, bytes: bytes)
}
