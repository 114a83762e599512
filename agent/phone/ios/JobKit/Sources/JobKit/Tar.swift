// Unpacks the uncompressed tar in which a folder, such as an .mlpackage, travels.

import Foundation

private let blockSize = 512

/// Unpacks `archive` below `folder`, which is made. Files and folders only, by plain paths.
public func unpackTar(_ archive: URL, below folder: URL) throws {
    let manager = FileManager.default
    try manager.createDirectory(at: folder, withIntermediateDirectories: true)
    let handle = try FileHandle(forReadingFrom: archive)
    defer { try? handle.close() }
    while let header = try handle.read(upToCount: blockSize), header.count == blockSize {
        if header.allSatisfy({ $0 == 0 }) { return }
        let entry = try TarEntry([UInt8](header))
        let place = folder.appendingPathComponent(entry.path)
        if entry.isFolder {
            try manager.createDirectory(at: place, withIntermediateDirectories: true)
        } else {
            try manager.createDirectory(
                at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try copy(entry.size, from: handle, to: place)
        }
    }
    throw LaunchFailure.refused("the model's tar is cut off")
}

private func copy(_ size: Int, from handle: FileHandle, to place: URL) throws {
    FileManager.default.createFile(atPath: place.path, contents: nil)
    let file = try FileHandle(forWritingTo: place)
    defer { try? file.close() }
    var left = size
    while left > 0 {
        guard let chunk = try handle.read(upToCount: min(left, 1 << 20)), !chunk.isEmpty else {
            throw LaunchFailure.refused("the model's tar is cut off")
        }
        try file.write(contentsOf: chunk)
        left -= chunk.count
    }
    let padding = (blockSize - size % blockSize) % blockSize
    _ = try handle.read(upToCount: padding)
}

/// One entry of a tar in the USTAR format.
struct TarEntry: Equatable {
    let path: String
    let size: Int
    let isFolder: Bool

    init(_ header: [UInt8]) throws {
        guard header.count == blockSize, Array(header[257..<262]) == Array("ustar".utf8) else {
            throw LaunchFailure.refused("the model is no tar of a folder")
        }
        let prefix = text(header[345..<500])
        let name = text(header[0..<100])
        let whole = prefix.isEmpty ? name : "\(prefix)/\(name)"
        path = whole.hasSuffix("/") ? String(whole.dropLast()) : whole
        guard isPlainPath(path) else {
            throw LaunchFailure.refused("the model's tar has a path that leads elsewhere")
        }
        let kind = header[156]
        isFolder = kind == UInt8(ascii: "5")
        guard isFolder || kind == UInt8(ascii: "0") || kind == 0 else {
            throw LaunchFailure.refused("the model's tar has more than files and folders")
        }
        let digits = text(header[124..<136]).trimmingCharacters(in: .whitespaces)
        guard let size = Int(digits, radix: 8), size >= 0 else {
            throw LaunchFailure.refused("the model's tar has a file of no size")
        }
        self.size = isFolder ? 0 : size
    }
}

private func text(_ field: ArraySlice<UInt8>) -> String {
    String(decoding: field.prefix { $0 != 0 }, as: UTF8.self)
}
