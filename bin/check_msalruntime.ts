/**
 * Check of Microsoft's library MSALRuntime, which Windows' and macOS' brokers are reached by.
 *
 * @module
 */
import { quoteCommand, readEnvironment } from "../lib/platform/host.ts";
import { packageFolders } from "../lib/platform/installed_package.ts";
import { isPermitted } from "../lib/platform/permission.ts";
import { isThere, readTextFile } from "../lib/platform/program.ts";
import { NO_BROKER_WANTED } from "./check_broker.ts";
import { type Check, failed, notChecked, ok } from "./doctor_check.ts";

const PACKAGE = "@azure/msal-node-runtime";
/** Environment variable with the path of the package, or of the library's file in it. */
const PLACE = "LATCHKEY_MSALRUNTIME";
const INSTALL = `Install it beside the program: npm install ${PACKAGE}`;
const DOES_NOT_START = "Do what broker says above; if that does not help, install the package anew";

/** Where the library is, its version, and whether it starts: the broker's check has what to do when it does not. */
export const msalRuntime: Check = {
  id: "msalruntime",
  limitMs: 12_000,
  after: ["broker"],
  async run({ app }, { signal, stateOf }) {
    const broker = stateOf("broker");
    if (broker === "unknown") return NO_BROKER_WANTED;
    const place = await findPackage();
    if (broker !== "ok" && place.isUnseen) {
      const fix = `Run deno with ${quoteCommand([`--allow-read=${place.folder}`, "--allow-ffi"])}`;
      return notChecked(`Deno may not read where ${PACKAGE} can be`, fix);
    }
    if (broker !== "ok" && !place.folder) return failed(`the package ${PACKAGE} is not installed`, INSTALL);
    const status = await app.brokerStatus({ signal });
    const what = `${PACKAGE} ${place.version ?? status.version ?? "of an unknown version"}, ${whereOf(place)}`;
    if (broker === "ok") return ok(`${what}, starts`);
    return failed(`${what}, does not start: ${status.reason ?? "it is not told why"}`, DOES_NOT_START);
  },
};

/** Where the package is. */
interface Place {
  /** Its folder, or what the environment names; the first that could be it where none may be looked at. */
  readonly folder?: string | undefined;
  readonly version?: string | undefined;
  /** Whether Deno may not look there. */
  readonly isUnseen?: boolean;
}

async function findPackage(): Promise<Place> {
  const named = isPermitted({ name: "env", variable: PLACE }) ? readEnvironment(PLACE) : undefined;
  const folders = named === undefined ? packageFolders(PACKAGE) : [named];
  for (const folder of folders) {
    if (isPermitted({ name: "read", path: folder }) && isThere(folder)) {
      return { folder, version: await versionIn(folder) };
    }
  }
  const folder = folders.find((path) => !isPermitted({ name: "read", path }));
  return folder === undefined ? {} : { folder, isUnseen: true };
}

/** What the package says of itself. It is there to be shown: the library's file alone can have been named. */
async function versionIn(folder: string): Promise<string | undefined> {
  try {
    const { name, version } = JSON.parse(await readTextFile(`${folder}/package.json`));
    return name === PACKAGE && typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}

function whereOf({ folder, isUnseen }: Place): string {
  return folder === undefined || isUnseen ? "in a place that cannot be told" : `in ${folder}`;
}
