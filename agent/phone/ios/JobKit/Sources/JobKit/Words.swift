// Which texts of a job are safe to use: names, digests, and paths that lead nowhere else.

/// Any key of a JSON object.
struct AnyKey: CodingKey {
    let stringValue: String
    let intValue: Int? = nil

    init?(stringValue: String) {
        self.stringValue = stringValue
    }

    init?(intValue: Int) {
        return nil
    }
}

/// A job with a field that this app does not know asks for something that it would not do.
func refuseUnknownKeys(in decoder: Decoder, known: [String]) throws {
    let found = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
    if let stranger = found.first(where: { !known.contains($0) }) {
        throw JobMistake("job.json: unknown field \(stranger)")
    }
}

private func isLetterOrDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        return true
    default:
        return false
    }
}

func isHex(_ text: String, digits: Int) -> Bool {
    text.utf8.count == digits
        && text.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
}

func isIdentifier(_ text: String, atMost most: Int) -> Bool {
    guard let first = text.utf8.first else { return false }
    return isLetterOrDigit(first) && text.utf8.count <= most
        && text.utf8.allSatisfy {
            isLetterOrDigit($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
        }
}

func isWord(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count)
        && text.utf8.allSatisfy {
            (isLetterOrDigit($0) && !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0))
                || $0 == UInt8(ascii: "_")
        }
}

/// Whether a path stays below the folder that it is meant for: no part of it begins with a dot.
public func isPlainPath(_ path: String) -> Bool {
    guard (1...512).contains(path.utf8.count) else { return false }
    return path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        .allSatisfy { isPlainPart($0) }
}

private func isPlainPart<Part: Collection>(_ part: Part) -> Bool where Part.Element == UInt8 {
    guard let first = part.first, isLetterOrDigit(first) || first == UInt8(ascii: "_") else {
        return false
    }
    return part.allSatisfy {
        isLetterOrDigit($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_")
            || $0 == UInt8(ascii: "-")
    }
}
