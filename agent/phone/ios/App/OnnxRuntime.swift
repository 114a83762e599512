// ONNX Runtime by its Objective-C interface, in builds that are linked with it.

#if canImport(OnnxRuntimeBindings)
import Foundation
import JobKit
import OnnxRuntimeBindings

/// ONNX Runtime on the CPU or through its Core ML execution provider.
struct OnnxRuntime: LoadedRuntime {
    let version: String
    // The Objective-C interface tells nothing about which provider took what.
    let placementsSource = ""

    private let model: URL
    private let environment: ORTEnv
    private let options: ORTSessionOptions

    init(_ model: URL, delegate: String, threads: Int) throws {
        self.model = model
        version = ORTVersion() ?? "unknown"
        environment = try ORTEnv(loggingLevel: .error)
        options = try ORTSessionOptions()
        try options.setIntraOpNumThreads(Int32(threads))
        switch delegate {
        case "cpu":
            break
        case "coreml":
            guard ORTIsCoreMLExecutionProviderAvailable() else {
                throw LaunchFailure.refused("this ONNX Runtime has no Core ML execution provider")
            }
            try options.appendCoreMLExecutionProvider(with: ORTCoreMLExecutionProviderOptions())
        default:
            throw LaunchFailure.refused(
                "ONNX Runtime here has no \(delegate) execution provider; it has cpu and coreml")
        }
    }

    func compile() throws {}

    func load() throws -> Model {
        let session = try ORTSession(
            env: environment, modelPath: model.path, sessionOptions: options)
        return try OnnxModel(session)
    }
}

final class OnnxModel: Model {
    private let session: ORTSession
    private let outputNames: Set<String>
    private var last: [String: ORTValue] = [:]

    init(_ session: ORTSession) throws {
        self.session = session
        outputNames = Set(try session.outputNames())
    }

    /// The interface tells the names of inputs, and neither types nor shapes: both are those of the
    /// fixed inputs, one sample at a time, and ONNX Runtime refuses what does not fit its model.
    func inputs(given: [String: FixedArray]) throws -> [Tensor] {
        let names = try session.inputNames()
        let only = names.count == 1 && given.count == 1 ? given.first?.value : nil
        return try names.map { name in
            guard let array = given[name] ?? only else {
                throw LaunchFailure.badInputs(
                    "on iPhones ONNX Runtime needs fixed inputs; there is none for '\(name)'")
            }
            return Tensor(name: name, type: array.type, shape: [-1] + array.shape.dropFirst())
        }
    }

    func bind(_ arrays: [String: FixedArray]) throws -> Invoke {
        let values = try arrays.mapValues { try ortValue($0) }
        return { [self] in
            last = try session.run(withInputs: values, outputNames: outputNames, runOptions: nil)
        }
    }

    func outputs() throws -> [String: FixedArray] {
        try last.mapValues { try fixedArray($0) }
    }

    func placements() throws -> [Placement] {
        []
    }

    func predicted() throws -> [Placement] {
        []
    }
}

private let elementTypes: [(ElementType, ORTTensorElementDataType)] = [
    (.float32, .float), (.int8, .int8), (.uint8, .uInt8), (.int32, .int32), (.uint32, .uInt32),
    (.int64, .int64),
]

private func ortValue(_ array: FixedArray) throws -> ORTValue {
    guard let type = elementTypes.first(where: { $0.0 == array.type })?.1 else {
        throw LaunchFailure.badInputs(
            "ONNX Runtime's interface here takes no arrays of \(array.type.rawValue)")
    }
    return try ORTValue(
        tensorData: NSMutableData(data: array.bytes), elementType: type,
        shape: array.shape.map { NSNumber(value: $0) })
}

private func fixedArray(_ value: ORTValue) throws -> FixedArray {
    let info = try value.tensorTypeAndShapeInfo()
    guard let type = elementTypes.first(where: { $0.1 == info.elementType })?.0 else {
        throw LaunchFailure.refused("an output is of a type that ONNX Runtime's interface hides")
    }
    let bytes = Data(referencing: try value.tensorData())
    return FixedArray(type: type, shape: info.shape.map(\.intValue), bytes: bytes)
}
#endif
