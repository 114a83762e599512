// Reads an .npz whose members are stored, as the agent sends them; the file is not trusted.

import Foundation

private let endSignature: UInt32 = 0x0605_4b50
private let entrySignature: UInt32 = 0x0201_4b50
private let localSignature: UInt32 = 0x0403_4b50
private let endSize = 22
private let entrySize = 46
private let localSize = 30

/// The arrays of an .npz by name; nothing where no file is named.
public func readNpz(_ file: URL?) throws -> [String: FixedArray] {
    guard let file else { return [:] }
    let content: Data
    do {
        content = try Data(contentsOf: file)
    } catch {
        throw unreadable("\(error.localizedDescription)")
    }
    var found: [String: FixedArray] = [:]
    for member in try members(of: content) {
        found[member.name] = try readNpy(member.content, name: member.name)
    }
    return found
}

private struct Member {
    let name: String
    let content: Data
}

private func unreadable(_ why: String) -> LaunchFailure {
    LaunchFailure.badInputs("the file of fixed arrays cannot be read: \(why)")
}

private func members(of archive: Data) throws -> [Member] {
    let bytes = [UInt8](archive)
    let end = try endOfArchive(bytes)
    let count = Int(try number16(bytes, end + 10))
    var at = Int(try number32(bytes, end + 16))
    var found: [Member] = []
    for _ in 0..<count {
        guard try number32(bytes, at) == entrySignature else { throw unreadable("a broken entry") }
        guard try number16(bytes, at + 10) == 0 else {
            throw unreadable("a member is packed; the agent sends them stored")
        }
        let size = Int(try number32(bytes, at + 24))
        let nameSize = Int(try number16(bytes, at + 28))
        let extraSize = Int(try number16(bytes, at + 30))
        let noteSize = Int(try number16(bytes, at + 32))
        let local = Int(try number32(bytes, at + 42))
        let name = String(decoding: try slice(bytes, at + entrySize, nameSize), as: UTF8.self)
        let content = try contentOfMember(bytes, local: local, size: size)
        found.append(Member(name: withoutSuffix(name), content: Data(content)))
        at += entrySize + nameSize + extraSize + noteSize
    }
    return found
}

private func endOfArchive(_ bytes: [UInt8]) throws -> Int {
    var at = bytes.count - endSize
    while at >= 0 && at >= bytes.count - endSize - 65_535 {
        if try number32(bytes, at) == endSignature { return at }
        at -= 1
    }
    throw unreadable("it is no .npz")
}

private func contentOfMember(_ bytes: [UInt8], local: Int, size: Int) throws -> ArraySlice<UInt8> {
    guard try number32(bytes, local) == localSignature else { throw unreadable("a broken member") }
    let skipped = Int(try number16(bytes, local + 26)) + Int(try number16(bytes, local + 28))
    return try slice(bytes, local + localSize + skipped, size)
}

private func withoutSuffix(_ name: String) -> String {
    name.hasSuffix(".npy") ? String(name.dropLast(4)) : name
}

/// An array in NumPy's own format, versions 1 to 3.
func readNpy(_ content: Data, name: String) throws -> FixedArray {
    let bytes = [UInt8](content)
    let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
    guard bytes.count > 12, Array(bytes[0..<6]) == magic, (1...3).contains(bytes[6]) else {
        throw unreadable("\(name) is no array")
    }
    let sizeBytes = bytes[6] == 1 ? 2 : 4
    let headerSize = sizeBytes == 2 ? Int(try number16(bytes, 8)) : Int(try number32(bytes, 8))
    let header = String(decoding: try slice(bytes, 8 + sizeBytes, headerSize), as: UTF8.self)
    let type = try elementType(quoted(after: "'descr':", in: header), name: name)
    guard header.contains("'fortran_order': False") else {
        throw unreadable("\(name) lies column after column")
    }
    let shape = try dimensions(in: header, name: name)
    let expected = try byteCount(shape, type.size, name: name)
    let data = bytes[(8 + sizeBytes + headerSize)...]
    guard data.count == expected else { throw unreadable("\(name) is not of its size") }
    return FixedArray(type: type, shape: shape, bytes: Data(data))
}

private func elementType(_ description: String?, name: String) throws -> ElementType {
    let known: [String: ElementType] = [
        "<f2": .float16, "<f4": .float32, "<f8": .float64,
        "|i1": .int8, "<i2": .int16, "<i4": .int32, "<i8": .int64,
        "|u1": .uint8, "<u2": .uint16, "<u4": .uint32, "|b1": .bool,
    ]
    guard let description, let type = known[description] else {
        throw unreadable("\(name) is of type \(description ?? "unknown")")
    }
    return type
}

private func quoted(after key: String, in header: String) -> String? {
    guard let found = header.range(of: key) else { return nil }
    let parts = header[found.upperBound...].split(separator: "'", maxSplits: 2)
    return parts.count > 1 ? String(parts[1]) : nil
}

private func dimensions(in header: String, name: String) throws -> [Int] {
    guard let key = header.range(of: "'shape': ("),
        let close = header[key.upperBound...].firstIndex(of: ")")
    else {
        throw unreadable("\(name) has no shape")
    }
    return try header[key.upperBound..<close].split(separator: ",").map {
        let text = $0.trimmingCharacters(in: .whitespaces)
        guard let size = Int(text), size >= 0 else { throw unreadable("\(name) has no shape") }
        return size
    }
}

private func byteCount(_ shape: [Int], _ size: Int, name: String) throws -> Int {
    try shape.reduce(size) {
        let (product, overflow) = $0.multipliedReportingOverflow(by: $1)
        if overflow { throw unreadable("\(name) is of no possible size") }
        return product
    }
}

private func slice(_ bytes: [UInt8], _ at: Int, _ size: Int) throws -> ArraySlice<UInt8> {
    guard at >= 0, size >= 0, size <= bytes.count, at <= bytes.count - size else {
        throw unreadable("it is cut off")
    }
    return bytes[at..<(at + size)]
}

private func number16(_ bytes: [UInt8], _ at: Int) throws -> UInt16 {
    try slice(bytes, at, 2).reversed().reduce(0) { $0 << 8 | UInt16($1) }
}

private func number32(_ bytes: [UInt8], _ at: Int) throws -> UInt32 {
    try slice(bytes, at, 4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
}
