/**
 * Azure's clouds as Azure CLI knows them.
 *
 * @module
 */

/** Kinds of resources that `az account get-access-token --resource-type` names. */
export const RESOURCE_TYPES = ["oss-rdbms", "arm", "aad-graph", "ms-graph", "batch", "media", "data-lake"] as const;

/** A cloud. Its resources are as Azure CLI has them, with or without a slash at their end. */
export interface Cloud {
  readonly name: string;
  readonly isActive: boolean;
  /** Host of the sign-in. */
  readonly login: string;
  readonly resourceManager: string;
  readonly resources: Readonly<Partial<Record<(typeof RESOURCE_TYPES)[number], string>>>;
}

const CLOUDS: readonly Omit<Cloud, "isActive">[] = [
  {
    name: "AzureCloud",
    login: "login.microsoftonline.com",
    resourceManager: "https://management.azure.com/",
    resources: {
      "arm": "https://management.core.windows.net/",
      "ms-graph": "https://graph.microsoft.com/",
      "oss-rdbms": "https://ossrdbms-aad.database.windows.net",
      "aad-graph": "https://graph.windows.net/",
      "batch": "https://batch.core.windows.net/",
      "data-lake": "https://datalake.azure.net/",
      "media": "https://rest.media.azure.net",
    },
  },
  {
    name: "AzureChinaCloud",
    login: "login.chinacloudapi.cn",
    resourceManager: "https://management.chinacloudapi.cn",
    resources: {
      "arm": "https://management.core.chinacloudapi.cn/",
      "ms-graph": "https://microsoftgraph.chinacloudapi.cn",
      "oss-rdbms": "https://ossrdbms-aad.database.chinacloudapi.cn",
      "aad-graph": "https://graph.chinacloudapi.cn/",
      "batch": "https://batch.chinacloudapi.cn/",
      "media": "https://rest.media.chinacloudapi.cn",
    },
  },
  {
    name: "AzureUSGovernment",
    login: "login.microsoftonline.us",
    resourceManager: "https://management.usgovcloudapi.net/",
    resources: {
      "arm": "https://management.core.usgovcloudapi.net/",
      "ms-graph": "https://graph.microsoft.us/",
      "oss-rdbms": "https://ossrdbms-aad.database.usgovcloudapi.net",
      "aad-graph": "https://graph.microsoftazure.us/",
      "batch": "https://batch.core.usgovcloudapi.net/",
      "media": "https://rest.media.usgovcloudapi.net",
    },
  },
  {
    name: "AzureBleuCloud",
    login: "login.sovcloud-identity.fr",
    resourceManager: "https://management.sovcloud-api.fr",
    resources: {
      "arm": "https://management.sovcloud-api.fr/",
      "ms-graph": "https://graph.svc.sovcloud.fr",
      "oss-rdbms": "https://ossrdbms-aad.database.sovcloud-api.fr",
      "aad-graph": "https://graph.svc.sovcloud.fr/",
      "batch": "https://batch.sovcloud-api.fr/",
      "media": "https://rest.media.sovcloud-api.fr",
    },
  },
];

/** Returns the clouds. The active one has the authority; it is Azure's usual one if no cloud has. */
export function cloudsOf(authority: string | undefined): readonly Cloud[] {
  const host = authority !== undefined && URL.canParse(authority) ? new URL(authority).hostname : "";
  // China's sign-in has two names.
  const login = host === "login.partner.microsoftonline.cn" ? "login.chinacloudapi.cn" : host;
  const active = CLOUDS.find((each) => each.login === login) ?? CLOUDS[0];
  return CLOUDS.map((each) => ({ ...each, isActive: each === active }));
}

/** Describes a cloud as `az cloud show` does, as far as latchkey knows it. */
export function cloudJson({ name, isActive, login, resourceManager, resources }: Cloud): Record<string, unknown> {
  return {
    endpoints: {
      activeDirectory: `https://${login}`,
      activeDirectoryDataLakeResourceId: resources["data-lake"] ?? null,
      activeDirectoryGraphResourceId: resources["aad-graph"],
      activeDirectoryResourceId: resources.arm,
      batchResourceId: resources.batch,
      mediaResourceId: resources.media,
      microsoftGraphResourceId: resources["ms-graph"],
      ossrdbmsResourceId: resources["oss-rdbms"],
      resourceManager,
    },
    isActive,
    name,
    profile: "latest",
  };
}
