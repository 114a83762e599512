// A Core AI model as the app keeps it: unpacked from its tar, specialised, at a path that stays.

#if canImport(CoreAI)
import CoreAI
import Foundation
import JobKit

/// The system keeps what it made of the model, by the model's path and the options. A note beside the
/// model says for which options and which build of iOS that was done: an update makes it void.
@available(iOS 27, *)
struct SpecialisedModel: KeptModel {
    private let archive: URL
    private let folder: URL
    private let delegate: String

    init(archive: URL, folder: URL, delegate: String) {
        self.archive = archive
        self.folder = folder
        self.delegate = delegate
    }

    var isThere: Bool {
        FileManager.default.fileExists(atPath: note.path)
    }

    private var source: URL {
        folder.appendingPathComponent("source")
    }

    private var note: URL {
        let build = ProcessInfo.processInfo.operatingSystemVersionString
            .filter { $0.isLetter || $0.isNumber }
        return folder.appendingPathComponent("specialised-\(delegate)-\(build)")
    }

    /// The model, unpacked.
    func asset() throws -> URL {
        let found = try FileManager.default.contentsOfDirectory(
            at: source, includingPropertiesForKeys: nil)
        guard let asset = found.first(where: { $0.pathExtension == "aimodel" }) else {
            throw LaunchFailure.refused("the model's tar holds no .aimodel")
        }
        return asset
    }

    func remove() throws {
        guard FileManager.default.fileExists(atPath: folder.path) else { return }
        if let asset = try? asset() { try AIModelCache.default.deleteEntries(for: asset) }
        try FileManager.default.removeItem(at: folder)
    }

    /// What was made of it for other options stays, for the path stays.
    func unpackSource() throws {
        if FileManager.default.fileExists(atPath: source.path) {
            try FileManager.default.removeItem(at: source)
        }
        try unpackTar(archive, below: source)
    }

    /// Notes that the system has it now.
    func keep() throws {
        try Data().write(to: note)
    }

    /// Forgets that, once the system turned out to have purged it.
    func forget() throws {
        try FileManager.default.removeItem(at: note)
    }
}
#endif
