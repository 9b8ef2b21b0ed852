/**
 * Log lines.
 *
 * @module
 */

/** How serious a log line is. */
export type LogLevel = "error" | "warn" | "info" | "debug";

/** Takes log lines. They never have a token, cookie, code or claim in them. */
export type Logger = (level: LogLevel, message: string) => void;
