//! The calls of the gRPC service.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use proto::object::KeyError;
use proto::status::{Reason, RemoteError};
use proto::token::Bearer;
use proto::v1::control_server::Control;
use proto::v1::shield_client::ShieldClient;
use proto::v1::{
    AccessKeyInfo, AccountInfo, ApplyRequest, ApplyResponse, BackupPage, ChangeAccessKeyRequest,
    CreateAccessKeyRequest, CreateAccessKeyResponse, CreateAccountRequest, DeleteAccountRequest,
    DeleteAccountResponse, DeregisterRequest, DeregisterResponse, ExportRequest,
    GetCertificateAuthorityRequest, GetCertificateAuthorityResponse, ImportResponse, ListAccessKeysRequest,
    ListAccessKeysResponse, ListAccountsRequest, ListAccountsResponse, ListDistributionsRequest,
    ListDistributionsResponse, ListNodesRequest, ListNodesResponse, NodeRole, NodeStatus,
    PurgeDistributionRequest, PurgeDistributionResponse, PurgeRequest, RegisterRequest, RegisterResponse,
    Revision, SubscribeEvent, SubscribeRequest,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};

use super::{ControlConfig, access, operator, rights};
use crate::accounts::Accounts;
use crate::client::node::is_node_id;
use crate::documents::{self, MEMBERS};
use crate::door::authority;
use crate::membership;
use crate::metrics::Metrics;
use crate::mirror::view::View;
use crate::publish::Subscription;
use crate::store::{Store, StoreError};

/// Time one shield has to answer a Purge.
const SHIELD_PURGE: Duration = Duration::from_secs(5);
/// Shields asked at once.
const SHIELDS_AT_ONCE: usize = 16;
const LIST_DEFAULT: usize = 100;
const LIST_MOST: usize = 1000;

pub(super) struct Calls {
    pub(super) store: Store,
    pub(super) config: ControlConfig,
    pub(super) metrics: Metrics,
    pub(super) views: watch::Receiver<Arc<View>>,
    pub(super) token: String,
    pub(super) accounts: Accounts,
    pub(super) shutdown: CancellationToken,
}

pub(super) fn refused(reason: Reason, message: impl Into<String>) -> Status {
    RemoteError::new(reason, message).into()
}

pub(super) fn of_store(error: StoreError) -> Status {
    let reason = match error {
        StoreError::Away(_) => Reason::Unavailable,
        StoreError::Conflict { .. } => Reason::Overloaded,
        StoreError::Damaged(_) => Reason::Internal,
    };
    refused(reason, error.to_string())
}

impl Calls {
    pub(super) fn view(&self) -> Result<Arc<View>, Status> {
        let view = self.views.borrow().clone();
        if view.is_loaded() {
            Ok(view)
        } else {
            Err(refused(Reason::Unavailable, "control has not read its store yet"))
        }
    }

    fn newest(&self) -> Option<Revision> {
        let view = self.views.borrow();
        view.is_loaded().then(|| view.revision())
    }

    /// Asks one shield to forget; the entries it dropped.
    async fn purge_shield(&self, address: &str, request: PurgeRequest) -> Result<u64, RemoteError> {
        let failed =
            |e: &dyn std::fmt::Display| RemoteError::new(Reason::Unavailable, format!("{address}: {e}"));
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| failed(&e))?
            .connect_timeout(SHIELD_PURGE / 2);
        let bearer = Bearer::new(&self.token).map_err(|e| failed(&e))?;
        let call = async {
            let channel = endpoint.connect().await.map_err(|e| failed(&e))?;
            let answer = ShieldClient::with_interceptor(channel, bearer).purge(request).await?;
            Ok(answer.into_inner().entries)
        };
        tokio::time::timeout(SHIELD_PURGE, call).await.unwrap_or_else(|_| Err(failed(&"no answer in time")))
    }
}

#[tonic::async_trait]
impl Control for Calls {
    type SubscribeStream = ReceiverStream<Result<SubscribeEvent, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let SubscribeRequest { node_id, resume_after, features } = request.into_inner();
        if !is_node_id(&node_id) {
            return Err(refused(Reason::Invalid, "node_id: is not 1 to 128 of [A-Za-z0-9._-]"));
        }
        tracing::debug!(node = %node_id, ?resume_after, ?features, "subscription");
        let (sender, receiver) = mpsc::channel(self.config.publish.queue.max(1));
        let subscription = Subscription {
            node_id,
            at: resume_after,
            views: self.views.clone(),
            store: self.store.clone(),
            config: self.config.publish.clone(),
            metrics: self.metrics.clone(),
            sender,
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(subscription.run());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        let outcome = match membership::check(&request) {
            Ok(()) => membership::register(&self.store, &request, self.config.lease).await.map_err(of_store),
            Err(reason) => Err(refused(Reason::Invalid, reason)),
        };
        if let Err(status) = outcome {
            self.metrics.refused_registers.inc();
            return Err(status);
        }
        self.metrics.registers.inc();
        let lease_ms = self.config.lease.as_millis() as u32;
        Ok(Response::new(RegisterResponse { lease_ms, newest: self.newest(), drain: false }))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        let node_id = request.into_inner().node_id;
        if !is_node_id(&node_id) {
            return Err(refused(Reason::Invalid, "node_id: is not 1 to 128 of [A-Za-z0-9._-]"));
        }
        membership::deregister(&self.store, &node_id).await.map_err(of_store)?;
        tracing::info!(node = %node_id, "node left");
        Ok(Response::new(DeregisterResponse {}))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        operator::apply(self, &request.into_inner().yaml).await.map(Response::new)
    }

    type ExportStream = operator::Pages;

    async fn export(&self, _: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        operator::export(self).await.map(Response::new)
    }

    async fn import(
        &self,
        request: Request<Streaming<BackupPage>>,
    ) -> Result<Response<ImportResponse>, Status> {
        operator::import(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let view = self.view()?;
        let nodes = futures::stream::iter(view.members.values().cloned())
            .map(async |member| {
                // A store that is away leaves the age unknown, which is shown as the lease's whole length.
                let key = format!("{MEMBERS}{}", member.node_id);
                let age = self.store.lease_age(&key).await.ok().flatten().unwrap_or(self.config.lease);
                NodeStatus { node: Some((*member).clone()), age_ms: age.as_millis() as u64 }
            })
            .buffered(SHIELDS_AT_ONCE)
            .collect()
            .await;
        Ok(Response::new(ListNodesResponse { nodes, newest: Some(view.revision()) }))
    }

    async fn list_distributions(
        &self,
        request: Request<ListDistributionsRequest>,
    ) -> Result<Response<ListDistributionsResponse>, Status> {
        let ListDistributionsRequest { after, limit } = request.into_inner();
        let view = self.view()?;
        let limit = if limit == 0 { LIST_DEFAULT } else { (limit as usize).min(LIST_MOST) };
        let mut rest = view.distributions.range::<String, _>((Bound::Excluded(&after), Bound::Unbounded));
        let distributions = rest.by_ref().take(limit).map(|(_, d)| (**d).clone()).collect();
        let truncated = rest.next().is_some();
        Ok(Response::new(ListDistributionsResponse {
            distributions,
            truncated,
            newest: Some(view.revision()),
        }))
    }

    async fn purge(
        &self,
        request: Request<PurgeDistributionRequest>,
    ) -> Result<Response<PurgeDistributionResponse>, Status> {
        let PurgeDistributionRequest { distribution_id, key_prefix } = request.into_inner();
        if key_prefix.len() > 1024 || key_prefix.chars().any(char::is_control) {
            let error =
                if key_prefix.len() > 1024 { KeyError::TooLong(key_prefix.len()) } else { KeyError::Control };
            return Err(refused(Reason::Invalid, format!("key_prefix: {error}")));
        }
        let view = self.view()?;
        let Some(distribution) = view.distributions.get(&distribution_id) else {
            return Err(refused(Reason::NotFound, format!("there is no distribution '{distribution_id}'")));
        };
        let order =
            PurgeRequest { origin_id: distribution.origin_id.clone(), key_prefix: key_prefix.clone() };
        // Shields first: an edge that then refetches must not find the old bytes there.
        let answers: Vec<(String, Result<u64, RemoteError>)> =
            futures::stream::iter(view.members.values().cloned())
                .filter(|m| std::future::ready(m.role() == NodeRole::Shield))
                .map(async |m| (m.node_id.clone(), self.purge_shield(&m.address, order.clone()).await))
                .buffered(SHIELDS_AT_ONCE)
                .collect()
                .await;
        let (mut shield_entries, mut unreached) = (0, Vec::new());
        for (node, answer) in answers {
            match answer {
                Ok(entries) => shield_entries += entries,
                Err(error) => {
                    tracing::warn!(shield = %node, %error, "a shield did not take the purge; it will hear of it later");
                    self.metrics.unreached_shields.inc();
                    unreached.push(node);
                }
            }
        }
        let (purge, number) =
            documents::put_purge(&*self.store, &order.origin_id, &key_prefix, self.config.purge_ttl)
                .await
                .map_err(of_store)?;
        self.metrics.purges.inc();
        tracing::info!(
            distribution = %distribution_id, purge = %purge.id, %key_prefix, shield_entries, revision = number, "purged"
        );
        let revision = Some(Revision { store_id: view.store_id.clone(), number });
        Ok(Response::new(PurgeDistributionResponse { shield_entries, unreached, revision }))
    }

    async fn get_certificate_authority(
        &self,
        _: Request<GetCertificateAuthorityRequest>,
    ) -> Result<Response<GetCertificateAuthorityResponse>, Status> {
        let certificate = authority::certificate(&*self.store).await.map_err(of_store)?;
        let Some(certificate_pem) = certificate else {
            let reason = "there is no local authority: a control without api.tls makes one at its start, if it has a key for secrets";
            return Err(refused(Reason::NotFound, reason));
        };
        Ok(Response::new(GetCertificateAuthorityResponse { certificate_pem }))
    }

    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<AccountInfo>, Status> {
        rights::operator(&request, "making accounts")?;
        access::create_account(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        rights::operator(&request, "listing accounts")?;
        access::list_accounts(self, &request.into_inner()).map(Response::new)
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        rights::operator(&request, "deleting accounts")?;
        access::delete_account(self, &request.into_inner().account).await.map(Response::new)
    }

    async fn create_access_key(
        &self,
        request: Request<CreateAccessKeyRequest>,
    ) -> Result<Response<CreateAccessKeyResponse>, Status> {
        rights::operator(&request, "making access keys")?;
        access::create_key(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_access_keys(
        &self,
        request: Request<ListAccessKeysRequest>,
    ) -> Result<Response<ListAccessKeysResponse>, Status> {
        rights::operator(&request, "listing access keys")?;
        access::list_keys(self, &request.into_inner()).map(Response::new)
    }

    async fn change_access_key(
        &self,
        request: Request<ChangeAccessKeyRequest>,
    ) -> Result<Response<AccessKeyInfo>, Status> {
        rights::operator(&request, "changing access keys")?;
        access::change_key(self, &request.into_inner()).await.map(Response::new)
    }
}
