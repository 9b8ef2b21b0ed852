/**
 * Bus names that nobody has.
 *
 * @module
 */
import { BUS_ERROR, DBusError } from "./session_bus.ts";

/** What the bus says of a name that nobody has, and for which it has, or may start, no service. */
const UNOWNED: ReadonlySet<string> = new Set(["ServiceUnknown", "NameHasNoOwner"].map((name) => BUS_ERROR + name));

/** The reply to a call, or `undefined` when nobody has the name that was called or asked for. */
export async function orUnowned<T>(reply: Promise<T>): Promise<T | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof DBusError && UNOWNED.has(error.errorName)) return undefined;
    throw error;
  }
}
