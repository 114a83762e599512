// The app: one launch of it is one job, named by its arguments, and it leaves when it has answered.

import SwiftUI
import UIKit

@main
struct RunnerApp: App {
    @State private var told = "Waiting for a job of the lab's agent."
    @State private var begun = false

    var body: some Scene {
        WindowGroup {
            Text(told)
                .padding()
                .onAppear(perform: begin)
        }
    }

    private func begin() {
        guard !begun, let name = argument("--job") else { return }
        begun = true
        told = "Measuring. Leave the phone alone: \(name)"
        UIApplication.shared.isIdleTimerDisabled = true
        // Not the main thread: iOS ends an app that does not answer there.
        let thread = Thread { exit(Session(job: name).run()) }
        thread.qualityOfService = .userInteractive
        thread.stackSize = 8 << 20
        thread.start()
    }
}

/// The value of a launch argument.
private func argument(_ name: String) -> String? {
    let arguments = ProcessInfo.processInfo.arguments
    guard let at = arguments.firstIndex(of: name), at + 1 < arguments.count else { return nil }
    return arguments[at + 1]
}
