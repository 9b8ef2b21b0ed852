/**
 * Sign-in on another device, as somebody at a console is told of it.
 *
 * @module
 */
import type { AuthenticationResult, DeviceCodeSignIn, PublicClientApplication } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { countDown } from "./countdown.ts";
import { visible } from "./visible.ts";

/**
 * Makes sure that a device code can heed a command line.
 *
 * @throws {UsageError} when it has an option that none can.
 */
export function requireDeviceCodeLine(line: CommandLine): void {
  if (line.text("broker") === "require") throw new UsageError("No broker has device codes: --broker require cannot be");
  for (const name of ["prompt", "port"]) {
    if (line.text(name) !== undefined) throw new UsageError(`A device code has no --${name}`);
  }
  if (line.isOn("no-browser")) throw new UsageError("A device code has no --no-browser: it opens none");
}

/**
 * Signs a person in on another device.
 *
 * @param app The application.
 * @param request What is asked for.
 * @param line The command line.
 * @throws {LatchkeyError} `interaction_required` when somebody else signed in than the one who was expected.
 */
export async function signInByDeviceCode(
  app: PublicClientApplication,
  request: Omit<DeviceCodeSignIn, "onUserCode">,
  line: CommandLine,
): Promise<AuthenticationResult> {
  const timeout = line.seconds("timeout"), until = timeout === undefined ? Infinity : Date.now() + timeout * 1000;
  let countdown: Disposable | undefined;
  try {
    return await app.acquireTokenByDeviceCode({
      ...request,
      onUserCode: ({ message, expiresOn }) => {
        write("stderr", `latchkey: ${visible(message)}\n`);
        if (line.count("verbose") === 0) countdown = countDown(Math.min(expiresOn.getTime(), until));
      },
    });
  } finally {
    countdown?.[Symbol.dispose]();
  }
}
