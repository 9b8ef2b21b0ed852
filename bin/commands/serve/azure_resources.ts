/**
 * The resources that Azure CLI and Azure Developer CLI ask tokens for, in each cloud: `--resource azure`.
 *
 * @module
 */
import { DEFAULT_AUTHORITY, environmentAliases } from "../../../lib/authority.ts";
import { defaultScope } from "../../../lib/scopes.ts";
import { UsageError } from "../../cli/command_line.ts";

/**
 * Resources by the cloud's first host, without a slash at the end: those of `azure/cli/core/cloud.py` and of the commands of
 * Azure CLI 2.91. Services that share a resource among the clouds follow below.
 */
const RESOURCES: Readonly<Record<string, readonly string[]>> = {
  "login.microsoftonline.com": [
    "https://management.azure.com",
    "https://management.core.windows.net", // Azure Resource Manager, by the name that az login uses
    "https://graph.microsoft.com",
    "https://graph.windows.net",
    "https://vault.azure.net",
    "https://managedhsm.azure.net",
    "https://database.windows.net",
    "https://ossrdbms-aad.database.windows.net",
    "https://batch.core.windows.net",
    "https://datalake.azure.net",
    "https://rest.media.azure.net",
    "https://api.applicationinsights.io",
    "https://api.loganalytics.io",
    "https://dev.azuresynapse.net",
    "https://attest.azure.net",
    "https://appservice.azure.com",
    "https://azconfig.io",
    "https://ai.azure.com",
  ],
  "login.partner.microsoftonline.cn": [
    "https://management.chinacloudapi.cn",
    "https://management.core.chinacloudapi.cn",
    "https://microsoftgraph.chinacloudapi.cn",
    "https://graph.chinacloudapi.cn",
    "https://vault.azure.cn",
    "https://managedhsm.azure.cn",
    "https://database.chinacloudapi.cn",
    "https://ossrdbms-aad.database.chinacloudapi.cn",
    "https://batch.chinacloudapi.cn",
    "https://rest.media.chinacloudapi.cn",
    "https://api.applicationinsights.azure.cn",
    "https://api.loganalytics.azure.cn",
    "https://dev.azuresynapse.azure.cn",
    "https://azconfig.azure.cn",
  ],
  "login.microsoftonline.us": [
    "https://management.usgovcloudapi.net",
    "https://management.core.usgovcloudapi.net",
    "https://graph.microsoft.us",
    "https://graph.microsoftazure.us",
    "https://vault.usgovcloudapi.net",
    "https://managedhsm.usgovcloudapi.net",
    "https://database.usgovcloudapi.net",
    "https://ossrdbms-aad.database.usgovcloudapi.net",
    "https://batch.core.usgovcloudapi.net",
    "https://rest.media.usgovcloudapi.net",
    "https://api.applicationinsights.us",
    "https://api.loganalytics.us",
    "https://dev.azuresynapse.usgovcloudapi.net",
    "https://azconfig.azure.us",
  ],
  "login.sovcloud-identity.fr": [
    "https://management.sovcloud-api.fr",
    "https://graph.svc.sovcloud.fr",
    "https://vault.sovcloud-api.fr",
    "https://managedhsm.sovcloud-api.fr",
    "https://database.sovcloud-api.fr",
    "https://ossrdbms-aad.database.sovcloud-api.fr",
    "https://batch.sovcloud-api.fr",
    "https://rest.media.sovcloud-api.fr",
  ],
};

const SHARED = ["https://storage.azure.com", "https://containerregistry.azure.net"];
/** Apps that go by their ids: the server of AKS, and Azure DevOps. */
const APPS = ["6dae42f8-4368-4678-94ff-3960e28e3630", "499b84ac-1321-427f-aa17-267ca6975798"];

/**
 * Returns the scopes of the cloud of an authority, each resource with and without a slash at its end: programs ask for both.
 *
 * @throws {UsageError} if Azure CLI does not know the authority's cloud.
 */
export function azureScopes(authority: string = DEFAULT_AUTHORITY): readonly string[] {
  const [host = ""] = URL.canParse(authority) ? environmentAliases(new URL(authority).host) : [];
  const resources = RESOURCES[host];
  if (!resources) {
    throw new UsageError(
      "--resource azure is for the clouds that Azure CLI knows: name each resource for this --authority",
    );
  }
  const both = [...resources, ...SHARED].flatMap((resource) => [resource, `${resource}/`]);
  return [...both, ...APPS].map(defaultScope);
}
