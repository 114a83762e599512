// An array of numbers as it lies in memory, row after row.

import Foundation

/// The types of numbers that arrays and models have, by NumPy's names.
public enum ElementType: String {
    case float16, float32, float64
    case int8, int16, int32, int64
    case uint8, uint16, uint32
    case bool

    public var size: Int {
        switch self {
        case .int8, .uint8, .bool: return 1
        case .float16, .int16, .uint16: return 2
        case .float32, .int32, .uint32: return 4
        case .float64, .int64: return 8
        }
    }

    public var isReal: Bool {
        self == .float16 || self == .float32 || self == .float64
    }
}

public struct FixedArray: Equatable {
    public let type: ElementType
    public let shape: [Int]
    public let bytes: Data

    public init(type: ElementType, shape: [Int], bytes: Data) {
        self.type = type
        self.shape = shape
        self.bytes = bytes
    }

    public init(type: ElementType, shape: [Int], values: [Double]) {
        self.init(type: type, shape: shape, bytes: packed(values, as: type))
    }

    /// Its numbers; whole numbers beyond 2^53 are rounded.
    public var values: [Double] {
        switch type {
        case .float16: return unpack(Float16.self).map { Double($0) }
        case .float32: return unpack(Float.self).map { Double($0) }
        case .float64: return unpack(Double.self)
        case .int8: return unpack(Int8.self).map { Double($0) }
        case .int16: return unpack(Int16.self).map { Double($0) }
        case .int32: return unpack(Int32.self).map { Double($0) }
        case .int64: return unpack(Int64.self).map { Double($0) }
        case .uint8, .bool: return unpack(UInt8.self).map { Double($0) }
        case .uint16: return unpack(UInt16.self).map { Double($0) }
        case .uint32: return unpack(UInt32.self).map { Double($0) }
        }
    }

    /// Some samples of it, along the first axis.
    func samples(_ range: Range<Int>) -> FixedArray {
        let row = bytes.count / shape[0]
        let begin = bytes.startIndex + range.lowerBound * row
        let part = bytes.subdata(in: begin..<(begin + range.count * row))
        return FixedArray(type: type, shape: [range.count] + shape.dropFirst(), bytes: part)
    }

    /// The same numbers as another type; nil where they would not be the same. Real numbers may
    /// lose digits to a shorter real type.
    func cast(to other: ElementType) -> FixedArray? {
        if other == type { return self }
        let numbers = values
        if numbers.contains(where: { abs($0) > 9_007_199_254_740_992 }) { return nil }
        if !other.isReal && !numbers.allSatisfy({ fits($0, in: other) }) { return nil }
        let converted = FixedArray(type: other, shape: shape, values: numbers)
        let bothReal = type.isReal && other.isReal
        return bothReal || converted.values == numbers ? converted : nil
    }

    private func unpack<Number>(_ kind: Number.Type) -> [Number] {
        let count = bytes.count / MemoryLayout<Number>.stride
        return bytes.withUnsafeBytes { raw in
            (0..<count).map {
                raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Number>.stride, as: kind)
            }
        }
    }
}

private func fits(_ number: Double, in type: ElementType) -> Bool {
    guard number.isFinite && number == number.rounded() else { return false }
    switch type {
    case .int8: return Int8(exactly: number) != nil
    case .int16: return Int16(exactly: number) != nil
    case .int32: return Int32(exactly: number) != nil
    case .int64: return Int64(exactly: number) != nil
    case .uint8: return UInt8(exactly: number) != nil
    case .uint16: return UInt16(exactly: number) != nil
    case .uint32: return UInt32(exactly: number) != nil
    case .bool: return number == 0 || number == 1
    case .float16, .float32, .float64: return true
    }
}

/// The numbers have to fit the type.
private func packed(_ values: [Double], as type: ElementType) -> Data {
    switch type {
    case .float16: return bytes(of: values.map { Float16($0) })
    case .float32: return bytes(of: values.map { Float($0) })
    case .float64: return bytes(of: values)
    case .int8: return bytes(of: values.map { Int8($0) })
    case .int16: return bytes(of: values.map { Int16($0) })
    case .int32: return bytes(of: values.map { Int32($0) })
    case .int64: return bytes(of: values.map { Int64($0) })
    case .uint8, .bool: return bytes(of: values.map { UInt8($0) })
    case .uint16: return bytes(of: values.map { UInt16($0) })
    case .uint32: return bytes(of: values.map { UInt32($0) })
    }
}

private func bytes<Number>(of numbers: [Number]) -> Data {
    numbers.withUnsafeBytes { Data($0) }
}
