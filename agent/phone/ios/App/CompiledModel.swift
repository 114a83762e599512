// A Core ML model as the app keeps it: unpacked from its tar, compiled, at a path that stays.

import CoreML
import Foundation
import JobKit

/// What the app keeps of a model between launches.
protocol KeptModel {
    /// Whether a launch needs to compile nothing.
    var isThere: Bool { get }

    /// Removes it, with whatever the system made of it.
    func remove() throws

    /// Unpacks the model beside the place of its compiled form.
    func unpackSource() throws
}

struct CompiledModel: KeptModel {
    private let archive: URL
    private let folder: URL

    init(archive: URL, folder: URL) {
        self.archive = archive
        self.folder = folder
    }

    /// The compiled model, where it is kept.
    var place: URL {
        folder.appendingPathComponent("model.mlmodelc")
    }

    var isThere: Bool {
        FileManager.default.fileExists(atPath: place.path)
    }

    private var source: URL {
        folder.appendingPathComponent("source")
    }

    func remove() throws {
        if FileManager.default.fileExists(atPath: folder.path) {
            try FileManager.default.removeItem(at: folder)
        }
    }

    func unpackSource() throws {
        try remove()
        try unpackTar(archive, below: source)
    }

    /// Compiles the model that was unpacked. One that came compiled is kept as it is.
    func compile() throws {
        let manager = FileManager.default
        let found = try manager.contentsOfDirectory(
            at: source, includingPropertiesForKeys: nil)
        if let compiled = found.first(where: { $0.pathExtension == "mlmodelc" }) {
            try manager.moveItem(at: compiled, to: place)
            return
        }
        guard let package = found.first(where: { $0.pathExtension == "mlpackage" }) else {
            throw LaunchFailure.refused("the model's tar holds no .mlpackage and no .mlmodelc")
        }
        let compiled = try MLModel.compileModel(at: package)
        try manager.moveItem(at: compiled, to: place)
    }
}
