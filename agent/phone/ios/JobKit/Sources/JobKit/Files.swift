// Files: digests, and writing that is never seen in part.

import Crypto
import Foundation

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

/// The SHA-256 of a file in hexadecimal; that of nothing where it is not there.
public func sha256(of file: URL) throws -> String {
    var digest = SHA256()
    if let handle = try? FileHandle(forReadingFrom: file) {
        defer { try? handle.close() }
        while let chunk = try handle.read(upToCount: 1 << 20), !chunk.isEmpty {
            digest.update(data: chunk)
        }
    }
    return digest.finalize().map { String(format: "%02x", $0) }.joined()
}

/// Writes a file whole: whoever looks sees the old one or the new one, never a part.
public func putInPlace(_ content: Data, at file: URL) throws {
    let new = file.appendingPathExtension("new")
    try content.write(to: new)
    if rename(new.path, file.path) != 0 {
        throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
    }
}

/// Removes everything in a folder, which may not be there.
public func empty(_ folder: URL) throws {
    let manager = FileManager.default
    guard manager.fileExists(atPath: folder.path) else { return }
    for each in try manager.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
        try manager.removeItem(at: each)
    }
}
