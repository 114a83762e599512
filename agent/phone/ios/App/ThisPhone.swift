// The phone that the app runs on: its clock, its memory, its heat.

import Darwin
import Foundation
import JobKit

struct ThisPhone: Phone {
    private let timebase: mach_timebase_info_data_t
    /// When this process was started, on the clock of `now`.
    let processStartedNs: Int64

    init() {
        var found = mach_timebase_info_data_t()
        mach_timebase_info(&found)
        timebase = found
        processStartedNs = ThisPhone.continuousNs(found) - ThisPhone.ageNs()
    }

    func now() -> Int64 {
        ThisPhone.continuousNs(timebase)
    }

    func footprint() -> (now: Int64, peak: Int64) {
        var info = task_vm_info_data_t()
        let words = MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size
        var count = mach_msg_type_number_t(words)
        let result = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: words) { raw in
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), raw, &count)
            }
        }
        guard result == KERN_SUCCESS else {
            fatalError("the kernel tells nothing about this process's memory: \(result)")
        }
        return (Int64(info.phys_footprint), Int64(info.ledger_phys_footprint_peak))
    }

    func conditions() -> Conditions {
        let process = ProcessInfo.processInfo
        return Conditions(
            thermal: thermal(process.thermalState), lowPowerMode: process.isLowPowerModeEnabled)
    }

    private func thermal(_ state: ProcessInfo.ThermalState) -> Thermal {
        switch state {
        case .nominal: return .nominal
        case .fair: return .fair
        case .serious: return .serious
        case .critical: return .critical
        @unknown default: return .critical
        }
    }

    private static func continuousNs(_ timebase: mach_timebase_info_data_t) -> Int64 {
        let ticks = mach_continuous_time()
        let (high, low) = ticks.multipliedFullWidth(by: UInt64(timebase.numer))
        return Int64(UInt64(timebase.denom).dividingFullWidth((high, low)).quotient)
    }

    /// How long this process has been there. An app that iOS started beforehand, to have it ready,
    /// was not launched then: its age counts from now.
    private static func ageNs() -> Int64 {
        if ProcessInfo.processInfo.environment["ActivePrewarm"] == "1" { return 0 }
        var info = kinfo_proc()
        var size = MemoryLayout<kinfo_proc>.stride
        var path: [Int32] = [CTL_KERN, KERN_PROC, KERN_PROC_PID, getpid()]
        guard sysctl(&path, UInt32(path.count), &info, &size, nil, 0) == 0 else { return 0 }
        let started = info.kp_proc.p_un.__p_starttime
        var wall = timeval()
        gettimeofday(&wall, nil)
        let seconds = Int64(wall.tv_sec - started.tv_sec)
        let microseconds = Int64(wall.tv_usec) - Int64(started.tv_usec)
        return max(0, seconds * 1_000_000_000 + microseconds * 1_000)
    }
}
